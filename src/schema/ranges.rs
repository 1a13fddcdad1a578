//! Types that PostgreSQL has no name for, as a wider type with a check, and the way back.
//!
//! Owns: which check stands for `unsigned`, TINYINT, MEDIUMINT, YEAR and for a boolean in TINYINT(1). Both ways come from
//! one list, so that a schema which goes there and back is what it was. Pure.

use super::expression::Expression;
use crate::ddl;
use crate::model::schema::{ColumnType, Engine};

/// What a column of this type may hold, where the other engine's type would hold more.
pub fn check(column: &str, ty: &ColumnType, to: Engine) -> Option<Expression> {
    let column = || Expression::Column(column.to_owned());
    let number = |text: &str| Expression::Number(text.to_owned());
    let between = |min: &str, max: &str| {
        Expression::all(vec![
            Expression::binary(column(), ">=", number(min)),
            Expression::binary(column(), "<=", number(max)),
        ])
    };
    match (ty, to.is_postgres()) {
        (ColumnType::Int { bits, unsigned }, true) => match (bits, unsigned) {
            (8, false) => Some(between("-128", "127")),
            (8, true) => Some(between("0", "255")),
            (16, true) => Some(between("0", "65535")),
            (24, false) => Some(between("-8388608", "8388607")),
            (24, true) => Some(between("0", "16777215")),
            (32, true) => Some(between("0", "4294967295")),
            (64, true) => Some(between("0", "18446744073709551615")),
            _ => None,
        },
        (ColumnType::Decimal { unsigned: true, .. }, true) => {
            Some(Expression::binary(column(), ">=", number("0")))
        }
        (ColumnType::Year, true) => Some(Expression::Any(vec![
            Expression::binary(column(), "=", number("0")),
            between("1901", "2155"),
        ])),
        (ColumnType::Bool, false) => Some(Expression::In(Box::new(column()), vec![number("0"), number("1")])),
        _ => None,
    }
}

/// The type of the other engine that a wider type and its check stand for.
pub fn meant(column: &str, sql_type: &str, check_on: &Expression, from: Engine) -> Option<ColumnType> {
    let int = |bits, unsigned| ColumnType::Int { bits, unsigned };
    let candidates = [
        int(8, false),
        int(8, true),
        int(16, true),
        int(24, false),
        int(24, true),
        int(32, true),
        int(64, true),
        ColumnType::Year,
        ColumnType::Bool,
    ];
    let is_meant = |ty: &ColumnType| {
        ddl::ddl_type(ty, from) == sql_type && check(column, ty, from).as_ref() == Some(check_on)
    };
    candidates.into_iter().find(is_meant)
}

#[cfg(test)]
mod tests {
    use super::*;
    use Engine::{Mysql, Postgres};

    #[test]
    fn a_type_and_its_check_come_back() {
        for (ty, there) in [
            (
                ColumnType::Int {
                    bits: 32,
                    unsigned: true,
                },
                "bigint",
            ),
            (
                ColumnType::Int {
                    bits: 64,
                    unsigned: true,
                },
                "numeric(20,0)",
            ),
            (
                ColumnType::Int {
                    bits: 8,
                    unsigned: false,
                },
                "smallint",
            ),
            (ColumnType::Year, "smallint"),
        ] {
            let on = check("c", &ty, Postgres).unwrap();
            let printed = Expression::read(&on.write(Postgres), Postgres).unwrap();
            assert_eq!(meant("c", there, &printed, Postgres), Some(ty));
            assert_eq!(meant("other", there, &printed, Postgres), None);
        }
        let on = check("c", &ColumnType::Bool, Mysql).unwrap();
        let printed = Expression::read("(`c` in (0,1))", Mysql).unwrap();
        assert_eq!(on, printed);
        assert_eq!(meant("c", "tinyint(1)", &printed, Mysql), Some(ColumnType::Bool));
        assert_eq!(meant("c", "tinyint", &printed, Mysql), None);
    }
}
