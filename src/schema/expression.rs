//! Expressions of defaults, checks and generated columns: what of them both dialects have.
//!
//! Owns: reading an expression as a server prints it ([`Expression::read`]), and writing it for another engine
//! ([`Expression::write`]). Two expressions that mean the same in both dialects read as equal.
//! Refuses: everything whose meaning differs between the engines or that only one of them has (division of integers,
//! regular expressions, `concat` of PostgreSQL, which takes NULL for nothing): `None`, and the caller names it. Pure.

use super::kind::{self, Known};
use crate::ddl;
use crate::model::schema::Engine;
use sqlparser::ast::{
    BinaryOperator, Expr, Function, FunctionArg, FunctionArgExpr, FunctionArguments, UnaryOperator, Value,
};
use sqlparser::dialect::{Dialect, MySqlDialect, PostgreSqlDialect};
use sqlparser::parser::Parser;
use sqlparser::tokenizer::Token;

/// Nesting of brackets.
const DEPTH_MAX: usize = 60;

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Expression {
    Column(String),
    Number(String),
    Text(String),
    Bool(bool),
    Null,
    /// Digits 0 and 1, without leading zeros.
    Bits(String),
    /// As hexadecimal digits.
    Bytes(String),
    Moment(Moment),
    /// A new random uuid.
    Uuid,
    All(Vec<Expression>),
    Any(Vec<Expression>),
    Not(Box<Expression>),
    Binary(Box<Expression>, &'static str, Box<Expression>),
    In(Box<Expression>, Vec<Expression>),
    Like(Box<Expression>, String),
    IsNull(Box<Expression>),
    /// By the name that both dialects know.
    Call(&'static str, Vec<Expression>),
    Concat(Vec<Expression>),
}

/// What the clock says when a row is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Moment {
    Now,
    /// The date and time in UTC, without a zone.
    Utc,
    Today,
    Time,
}

/// Functions that mean one thing under one name everywhere.
const COMMON: [&str; 8] = [
    "lower",
    "upper",
    "abs",
    "coalesce",
    "nullif",
    "char_length",
    "octet_length",
    "round",
];

impl Expression {
    /// By its looks, to be compared with another one: which cast changes a value is not asked.
    pub fn read(text: &str, engine: Engine) -> Option<Expression> {
        Reader { engine, known: None }.whole(text)
    }

    /// To be written for another table: a cast that may change a value is not passed over.
    pub fn read_of(text: &str, known: Known<'_>) -> Option<Expression> {
        let reader = Reader {
            engine: known.engine,
            known: Some(known),
        };
        reader.whole(text)
    }

    pub fn all(parts: Vec<Expression>) -> Expression {
        let flat = |part| match part {
            Expression::All(parts) => parts,
            other => vec![other],
        };
        Expression::All(parts.into_iter().flat_map(flat).collect())
    }

    /// MySQL prints no leading zeros.
    fn bits(digits: &str) -> Expression {
        let bits = digits.trim_start_matches('0');
        Expression::Bits(if bits.is_empty() { "0" } else { bits }.to_owned())
    }

    fn any(parts: Vec<Expression>) -> Expression {
        let flat = |part| match part {
            Expression::Any(parts) => parts,
            other => vec![other],
        };
        Expression::Any(parts.into_iter().flat_map(flat).collect())
    }

    pub fn binary(left: Expression, sign: &'static str, right: Expression) -> Expression {
        Expression::Binary(Box::new(left), sign, Box::new(right))
    }

    fn negated(self, not: bool) -> Expression {
        match not {
            true => Expression::Not(Box::new(self)),
            false => self,
        }
    }

    /// The columns it reads, each once for every place.
    pub fn columns(&self) -> Vec<&str> {
        match self {
            Expression::Column(name) => vec![name],
            _ => self.parts().into_iter().flat_map(Expression::columns).collect(),
        }
    }

    pub(super) fn parts(&self) -> Vec<&Expression> {
        match self {
            Expression::All(parts)
            | Expression::Any(parts)
            | Expression::Call(_, parts)
            | Expression::Concat(parts) => parts.iter().collect(),
            Expression::Not(part) | Expression::Like(part, _) | Expression::IsNull(part) => vec![part],
            Expression::Binary(left, _, right) => vec![left, right],
            Expression::In(left, list) => std::iter::once(&**left).chain(list).collect(),
            _ => Vec::new(),
        }
    }

    /// Does the clock or chance have a say in it? Then no check or generated column may hold it.
    pub fn is_fixed(&self) -> bool {
        !matches!(self, Expression::Moment(_) | Expression::Uuid)
            && self.parts().into_iter().all(Expression::is_fixed)
    }

    /// With other names of columns; `None`: one of them has none.
    pub fn renamed(&self, name: &dyn Fn(&str) -> Option<String>) -> Option<Expression> {
        let one = |part: &Expression| part.renamed(name).map(Box::new);
        let list = |parts: &[Expression]| {
            let parts = parts.iter().map(|part| part.renamed(name));
            parts.collect::<Option<Vec<_>>>()
        };
        Some(match self {
            Expression::Column(own) => Expression::Column(name(own)?),
            Expression::All(parts) => Expression::All(list(parts)?),
            Expression::Any(parts) => Expression::Any(list(parts)?),
            Expression::Call(function, parts) => Expression::Call(function, list(parts)?),
            Expression::Concat(parts) => Expression::Concat(list(parts)?),
            Expression::Not(part) => Expression::Not(one(part)?),
            Expression::Like(part, pattern) => Expression::Like(one(part)?, pattern.clone()),
            Expression::IsNull(part) => Expression::IsNull(one(part)?),
            Expression::Binary(left, sign, right) => Expression::Binary(one(left)?, sign, one(right)?),
            Expression::In(left, parts) => Expression::In(one(left)?, list(parts)?),
            other => other.clone(),
        })
    }

    pub fn write(&self, to: Engine) -> String {
        let list = |parts: &[Expression], between: &str| {
            let parts: Vec<String> = parts.iter().map(|part| part.write(to)).collect();
            parts.join(between)
        };
        match self {
            Expression::Column(name) => ddl::quote(name, to),
            Expression::Number(digits) => digits.clone(),
            Expression::Text(text) => ddl::literal(text, to),
            Expression::Bool(value) => value.to_string(),
            Expression::Null => "NULL".to_owned(),
            Expression::Bits(bits) => format!("b'{bits}'"),
            Expression::Bytes(hex) if to.is_postgres() => format!("'\\x{hex}'"),
            Expression::Bytes(hex) => format!("x'{hex}'"),
            Expression::Moment(moment) => moment.write(to).to_owned(),
            Expression::Uuid if to.is_postgres() => "gen_random_uuid()".to_owned(),
            Expression::Uuid => "uuid()".to_owned(),
            Expression::All(parts) => format!("({})", list(parts, " AND ")),
            Expression::Any(parts) => format!("({})", list(parts, " OR ")),
            Expression::Not(part) => format!("(NOT {})", part.write(to)),
            Expression::Binary(left, sign, right) => {
                format!("({} {sign} {})", left.write(to), right.write(to))
            }
            Expression::In(left, parts) => format!("({} IN ({}))", left.write(to), list(parts, ", ")),
            Expression::Like(part, pattern) => {
                format!("({} LIKE {})", part.write(to), ddl::literal(pattern, to))
            }
            Expression::IsNull(part) => format!("({} IS NULL)", part.write(to)),
            Expression::Call(function, parts) => format!("{function}({})", list(parts, ", ")),
            Expression::Concat(parts) if to.is_postgres() => format!("({})", list(parts, " || ")),
            Expression::Concat(parts) => format!("concat({})", list(parts, ", ")),
        }
    }
}

impl Moment {
    fn write(self, to: Engine) -> &'static str {
        match (self, to.is_postgres()) {
            (Moment::Now, _) => "CURRENT_TIMESTAMP",
            (Moment::Utc, true) => "(CURRENT_TIMESTAMP AT TIME ZONE 'UTC')",
            (Moment::Utc, false) => "utc_timestamp(6)",
            (Moment::Today, _) => "CURRENT_DATE",
            (Moment::Time, true) => "LOCALTIME",
            (Moment::Time, false) => "CURRENT_TIME",
        }
    }
}

struct Reader<'a> {
    engine: Engine,
    known: Option<Known<'a>>,
}

impl Reader<'_> {
    fn whole(&self, text: &str) -> Option<Expression> {
        let dialect: &dyn Dialect = match self.engine {
            Engine::Postgres => &PostgreSqlDialect {},
            Engine::Mysql | Engine::Mariadb => &MySqlDialect {},
        };
        let mut parser = Parser::new(dialect)
            .with_recursion_limit(DEPTH_MAX)
            .try_with_sql(text)
            .ok()?;
        let expr = parser.parse_expr().ok()?;
        let ends = parser.peek_token().token == Token::EOF;
        self.read(&expr).filter(|_| ends)
    }

    fn read(&self, expr: &Expr) -> Option<Expression> {
        match expr {
            Expr::Nested(inner) => self.read(inner),
            Expr::Identifier(name) => Some(Expression::Column(name.value.clone())),
            Expr::Value(value) => self.value(&value.value),
            // What the character set of a literal is: all are UTF-8 to us.
            Expr::Prefixed { value, .. } => self.read(value),
            Expr::UnaryOp { op, expr } => match (op, self.read(expr)?) {
                (UnaryOperator::Not, inner) => Some(inner.negated(true)),
                (UnaryOperator::Minus, Expression::Number(digits)) => {
                    Some(Expression::Number(format!("-{digits}")))
                }
                _ => None,
            },
            Expr::BinaryOp { left, op, right } => self.operator(left, op, right),
            Expr::IsNull(inner) => Some(Expression::IsNull(Box::new(self.read(inner)?))),
            Expr::IsNotNull(inner) => Some(Expression::IsNull(Box::new(self.read(inner)?)).negated(true)),
            Expr::InList { expr, list, negated } => {
                let list: Option<Vec<Expression>> = list.iter().map(|item| self.read(item)).collect();
                Some(Expression::In(Box::new(self.read(expr)?), list?).negated(*negated))
            }
            Expr::AnyOp {
                left,
                compare_op: BinaryOperator::Eq,
                right,
                ..
            } => Some(Expression::In(Box::new(self.read(left)?), self.array(right)?)),
            Expr::Between {
                expr,
                negated,
                low,
                high,
            } => {
                let value = self.read(expr)?;
                let low = Expression::binary(value.clone(), ">=", self.read(low)?);
                let high = Expression::binary(value, "<=", self.read(high)?);
                Some(Expression::all(vec![low, high]).negated(*negated))
            }
            Expr::Like {
                negated,
                any: false,
                expr,
                pattern,
                escape_char: None,
            } => Some(self.like(expr, pattern)?.negated(*negated)),
            Expr::Cast { expr, data_type, .. } if self.engine.is_postgres() => {
                self.cast(expr, &data_type.to_string().to_ascii_lowercase())
            }
            Expr::AtTimeZone { timestamp, time_zone } => self.in_utc(timestamp, time_zone),
            Expr::Function(function) => self.function(function),
            _ => None,
        }
    }

    fn value(&self, value: &Value) -> Option<Expression> {
        Some(match value {
            Value::Number(digits, _) => Expression::Number(canonical(digits)),
            Value::SingleQuotedString(text) => Expression::Text(text.clone()),
            Value::SingleQuotedByteStringLiteral(bits) => Expression::bits(bits),
            Value::HexStringLiteral(hex) if !self.engine.is_postgres() => {
                Expression::Bytes(hex.to_ascii_lowercase())
            }
            Value::Boolean(value) => Expression::Bool(*value),
            Value::Null => Expression::Null,
            _ => return None,
        })
    }

    fn operator(&self, left: &Expr, op: &BinaryOperator, right: &Expr) -> Option<Expression> {
        let sign = match op {
            BinaryOperator::Eq => "=",
            BinaryOperator::NotEq => "<>",
            BinaryOperator::Lt => "<",
            BinaryOperator::LtEq => "<=",
            BinaryOperator::Gt => ">",
            BinaryOperator::GtEq => ">=",
            BinaryOperator::Plus => "+",
            BinaryOperator::Minus => "-",
            BinaryOperator::Multiply => "*",
            BinaryOperator::PGLikeMatch => return self.like(left, right),
            BinaryOperator::PGNotLikeMatch => return Some(self.like(left, right)?.negated(true)),
            BinaryOperator::And | BinaryOperator::Or | BinaryOperator::StringConcat => {
                let parts = vec![self.read(left)?, self.read(right)?];
                return match op {
                    BinaryOperator::And => Some(Expression::all(parts)),
                    BinaryOperator::Or => Some(Expression::any(parts)),
                    _ => self.engine.is_postgres().then(|| concat(parts)),
                };
            }
            _ => return None,
        };
        Some(Expression::binary(self.read(left)?, sign, self.read(right)?))
    }

    /// A pattern with a backslash means something else in each mode of MySQL.
    fn like(&self, left: &Expr, pattern: &Expr) -> Option<Expression> {
        match self.read(pattern)? {
            Expression::Text(pattern) if !pattern.contains('\\') => {
                Some(Expression::Like(Box::new(self.read(left)?), pattern))
            }
            _ => None,
        }
    }

    fn array(&self, expr: &Expr) -> Option<Vec<Expression>> {
        match expr {
            Expr::Nested(inner) => self.array(inner),
            Expr::Cast { expr, .. } => self.array(expr),
            Expr::Array(array) => array.elem.iter().map(|item| self.read(item)).collect(),
            _ => None,
        }
    }

    /// PostgreSQL prints the type of every literal, and the casts it added between types of one kind. Those that change
    /// a value stay out.
    fn cast(&self, expr: &Expr, ty: &str) -> Option<Expression> {
        let inner = self.read(expr)?;
        let ty = ty.trim_matches('"');
        match &inner {
            // With a length it cuts.
            Expression::Text(_) | Expression::Number(_) | Expression::Bits(_) if ty.contains('(') => None,
            Expression::Text(text) => Some(literal(text.clone(), ty)),
            Expression::Number(digits) => {
                let is_whole = INTEGERS.contains(&ty) && !digits.contains(['.', 'e', 'E']);
                (is_whole || FRACTIONS.contains(&ty)).then_some(inner)
            }
            Expression::Bits(_) => ty.starts_with("bit").then_some(inner),
            Expression::Bool(_) => (ty == "boolean").then_some(inner),
            Expression::Null => Some(inner),
            Expression::Moment(Moment::Now) if ty == "date" => Some(Expression::Moment(Moment::Today)),
            Expression::Uuid => None,
            other => {
                let widens = match self.known {
                    Some(known) => kind::widens(other, ty, known),
                    None => WIDER.contains(&ty),
                };
                widens.then_some(inner)
            }
        }
    }

    fn in_utc(&self, moment: &Expr, zone: &Expr) -> Option<Expression> {
        match (self.read(moment)?, self.read(zone)?) {
            (Expression::Moment(Moment::Now), Expression::Text(zone)) if zone.eq_ignore_ascii_case("utc") => {
                Some(Expression::Moment(Moment::Utc))
            }
            _ => None,
        }
    }

    fn function(&self, function: &Function) -> Option<Expression> {
        let name = function.name.to_string().to_ascii_lowercase();
        let mut arguments = Vec::new();
        if let FunctionArguments::List(list) = &function.args {
            for argument in &list.args {
                match argument {
                    FunctionArg::Unnamed(FunctionArgExpr::Expr(expr)) => arguments.push(self.read(expr)?),
                    _ => return None,
                }
            }
        }
        let postgres = self.engine.is_postgres();
        Some(match (name.as_str(), postgres) {
            ("now" | "current_timestamp" | "localtimestamp", _) => Expression::Moment(Moment::Now),
            ("transaction_timestamp", true) => Expression::Moment(Moment::Now),
            ("utc_timestamp", false) => Expression::Moment(Moment::Utc),
            ("current_date", _) | ("curdate", false) => Expression::Moment(Moment::Today),
            ("current_time" | "localtime", _) | ("curtime", false) => Expression::Moment(Moment::Time),
            ("gen_random_uuid" | "uuidv4" | "uuid_generate_v4", true) => Expression::Uuid,
            ("uuid" | "uuid_v4", false) if arguments.is_empty() => Expression::Uuid,
            ("uuid_to_bin", false) => match arguments.as_slice() {
                [Expression::Uuid] => Expression::Uuid,
                [Expression::Text(text)] => Expression::Text(text.clone()),
                _ => return None,
            },
            ("concat", false) => concat(arguments),
            ("ifnull", false) => Expression::Call("coalesce", arguments),
            ("character_length", _) => Expression::Call("char_length", arguments),
            ("length", false) => Expression::Call("octet_length", arguments),
            // Of bytes it counts bytes: only a text column tells which it is, and PostgreSQL casts the others.
            ("length", true) => Expression::Call("char_length", arguments),
            (name, _) => {
                let known = COMMON.iter().find(|known| **known == name)?;
                Expression::Call(known, arguments)
            }
        })
    }
}

/// Types that hold whatever is cast to them from a type of their kind.
const WIDER: [&str; 8] = [
    "text",
    "character varying",
    "varchar",
    "bpchar",
    "numeric",
    "double precision",
    "bigint",
    "integer",
];

const INTEGERS: [&str; 3] = ["smallint", "integer", "bigint"];
const FRACTIONS: [&str; 3] = ["numeric", "real", "double precision"];

fn concat(parts: Vec<Expression>) -> Expression {
    let flat = |part| match part {
        Expression::Concat(parts) => parts,
        other => vec![other],
    };
    Expression::Concat(parts.into_iter().flat_map(flat).collect())
}

/// A server prints as many zeros behind the point as its column has digits.
fn canonical(digits: &str) -> String {
    match digits.contains('.') && !digits.contains(['e', 'E']) {
        true => digits.trim_end_matches('0').trim_end_matches('.').to_owned(),
        false => digits.to_owned(),
    }
}

/// A literal that PostgreSQL prints as text with its type behind.
fn literal(text: String, ty: &str) -> Expression {
    let is_number = INTEGERS.contains(&ty) || FRACTIONS.contains(&ty);
    let digits = |c: char| c.is_ascii_digit() || c == '.' || c == '-';
    match text.strip_prefix("\\x") {
        _ if ty.starts_with("bit") => Expression::bits(&text),
        Some(hex) if ty == "bytea" => Expression::Bytes(hex.to_owned()),
        _ if is_number && !text.is_empty() && text.chars().all(digits) => {
            Expression::Number(canonical(&text))
        }
        _ => Expression::Text(text),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use Engine::{Mariadb, Mysql, Postgres};

    /// What a server of one engine prints, as another takes it.
    #[track_caller]
    fn crosses(from: Engine, text: &str, to: Engine, there: Option<&str>) {
        let written = Expression::read(text, from).map(|read| read.write(to));
        assert_eq!(written.as_deref(), there, "{from} {text}");
    }

    #[test]
    fn expressions_of_postgres_cross() {
        for (from, text, to, there) in [
            (Postgres, "'new'::character varying", Mysql, Some("'new'")),
            (Postgres, "'new'::public.order_status", Mysql, Some("'new'")),
            (Postgres, "'-5'::integer", Mysql, Some("-5")),
            (Postgres, "(0)::numeric", Mysql, Some("0")),
            (Postgres, "B'101'::\"bit\"", Mysql, Some("b'101'")),
            (Postgres, "'0101'::\"bit\"", Mysql, Some("b'101'")),
            (Postgres, "'\\x00ff'::bytea", Mysql, Some("x'00ff'")),
            (Postgres, "(qty >= 0)", Mysql, Some("(`qty` >= 0)")),
            (Postgres, "(price > (0)::numeric)", Mysql, Some("(`price` > 0)")),
            (
                Postgres,
                "((status)::text = ANY ((ARRAY['a'::character varying, 'b'::character varying])::text[]))",
                Mysql,
                Some("(`status` IN ('a', 'b'))"),
            ),
            (
                Postgres,
                "((price * (qty)::numeric) + 1.5)",
                Mysql,
                Some("((`price` * `qty`) + 1.5)"),
            ),
            (
                Postgres,
                "(((first)::text || ' '::text) || (last)::text)",
                Mysql,
                Some("concat(`first`, ' ', `last`)"),
            ),
            (
                Postgres,
                "(code ~~ 'A%'::text)",
                Mysql,
                Some("(`code` LIKE 'A%')"),
            ),
            (Postgres, "(code ~ '^A'::text)", Mysql, None),
            (Postgres, "(a / b)", Mysql, None),
            (Postgres, "concat(a, b)", Mysql, None),
            (Postgres, "(a)::smallint", Mysql, None),
            (
                Postgres,
                "(now() AT TIME ZONE 'utc'::text)",
                Mysql,
                Some("utc_timestamp(6)"),
            ),
        ] {
            crosses(from, text, to, there);
        }
    }

    #[test]
    fn expressions_of_mysql_and_mariadb_cross() {
        for (from, text, to, there) in [
            (
                Mysql,
                "((`qty` between 1 and 9) and (`status` in (_utf8mb4'a',_utf8mb4'b''c')))",
                Postgres,
                Some("((\"qty\" >= 1) AND (\"qty\" <= 9) AND (\"status\" IN ('a', 'b''c')))"),
            ),
            (
                Mysql,
                "concat(`first`,_utf8mb4' ',`last`)",
                Postgres,
                Some("(\"first\" || ' ' || \"last\")"),
            ),
            (
                Mysql,
                "(`a` is not null)",
                Postgres,
                Some("(NOT (\"a\" IS NULL))"),
            ),
            (Mysql, "uuid_to_bin(uuid())", Postgres, Some("gen_random_uuid()")),
            (Mysql, "current_timestamp(6)", Postgres, Some("CURRENT_TIMESTAMP")),
            (Mysql, "0x6162", Postgres, Some("'\\x6162'")),
            (Mysql, "if(`a`,1,2)", Postgres, None),
            (
                Mariadb,
                "`status` in ('a','b')",
                Postgres,
                Some("(\"status\" IN ('a', 'b'))"),
            ),
            (Mariadb, "ifnull(`a`,0)", Mysql, Some("coalesce(`a`, 0)")),
        ] {
            crosses(from, text, to, there);
        }
    }

    #[test]
    fn what_means_the_same_reads_as_equal() {
        let postgres = "((qty >= 1) AND (qty <= 9) AND ((status)::text = ANY (ARRAY['a'::text, 'b'::text])))";
        let mysql = "((`qty` between 1 and 9) and (`status` in (_utf8mb4'a',_utf8mb4'b')))";
        let read = Expression::read(postgres, Postgres);
        assert!(read.is_some());
        assert_eq!(read, Expression::read(mysql, Mysql));
        assert_ne!(read, Expression::read("(`qty` between 1 and 8)", Mysql));
    }

    #[test]
    fn columns_are_renamed_or_the_expression_is_lost() {
        let read = Expression::read("(a > 0 AND b < 5)", Postgres).unwrap();
        let renamed = read.renamed(&|name| (name == "a").then(|| "x".to_owned()));
        assert_eq!(renamed, None);
        let renamed = read.renamed(&|name| Some(format!("{name}{name}"))).unwrap();
        assert_eq!(renamed.columns(), ["aa", "bb"]);
    }
}
