//! A statement's text as words, names, texts and signs, in the way of the session that wrote it.
//!
//! Refuses: what this server may execute and another not (version comments), and quotes that mean another thing in
//! another SQL mode where the mode is not known.

use super::SqlMode;

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Token {
    /// Bare: a keyword, a number or a name.
    Word(String),
    /// Quoted as a name.
    Name(String),
    Text(String),
    Sign(char),
}

/// `None`: not certain.
pub(super) fn tokens(text: &str, mode: Option<SqlMode>) -> Option<Vec<Token>> {
    let (mut rest, mut tokens, mut is_inside) = (text, Vec::new(), false);
    loop {
        rest = rest.trim_start_matches(|c: char| c.is_ascii_whitespace() || c == '\u{b}');
        let Some(first) = rest.chars().next() else { break };
        if let Some(body) = rest.strip_prefix("/*") {
            let (behind, is_executed) = comment(body)?;
            if is_executed && std::mem::replace(&mut is_inside, true) {
                return None;
            }
            rest = behind;
        } else if let Some(behind) = rest.strip_prefix("*/") {
            if !std::mem::replace(&mut is_inside, false) {
                return None;
            }
            rest = behind;
        } else if first == '#' || is_line_comment(rest) {
            rest = rest.split_once('\n').map_or("", |(_, behind)| behind);
        } else if matches!(first, '`' | '\'' | '"') {
            let (token, behind) = quoted(first, &rest[1..], mode)?;
            tokens.push(token);
            rest = behind;
        } else {
            let is_word = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '$') || !c.is_ascii();
            let end = rest.find(|c| !is_word(c)).unwrap_or(rest.len());
            let (word, behind) = rest.split_at(end.max(first.len_utf8()));
            tokens.push(match end {
                0 => Token::Sign(first),
                _ => Token::Word(word.to_owned()),
            });
            rest = behind;
        }
    }
    (!is_inside).then_some(tokens)
}

/// What stands behind its opening if that is executed, else behind its end.
fn comment(body: &str) -> Option<(&str, bool)> {
    let Some(inside) = body.strip_prefix('!') else {
        // MariaDB's own are nothing to MySQL.
        let is_foreign = body.starts_with("M!");
        return body
            .split_once("*/")
            .filter(|_| !is_foreign)
            .map(|(_, behind)| (behind, false));
    };
    let digits = inside.bytes().take_while(u8::is_ascii_digit).count();
    let (number, inside) = inside.split_at(digits);
    // Beyond these numbers the servers differ in what they execute.
    let is_for_all = digits == 0 || (digits == 5 && number <= "50699");
    is_for_all.then_some((inside, true))
}

/// Two dashes alone are two signs.
fn is_line_comment(rest: &str) -> bool {
    let behind = rest.strip_prefix("--").map(|rest| rest.chars().next());
    behind.is_some_and(|next| next.is_none_or(|c| c.is_ascii_whitespace() || c.is_ascii_control()))
}

fn quoted(quote: char, body: &str, mode: Option<SqlMode>) -> Option<(Token, &str)> {
    let is_name = quote == '`' || (quote == '"' && mode?.has_ansi_quotes());
    let mut text = String::new();
    let mut chars = body.char_indices().peekable();
    while let Some((at, c)) = chars.next() {
        if c == quote {
            if chars.next_if(|(_, next)| *next == quote).is_none() {
                let behind = &body[at + 1..];
                let token = if is_name {
                    Token::Name(text)
                } else {
                    Token::Text(text)
                };
                return Some((token, behind));
            }
        } else if c == '\\' && !is_name && mode?.escapes() {
            text.push(escaped(chars.next()?.1));
            continue;
        }
        text.push(c);
    }
    None
}

fn escaped(c: char) -> char {
    match c {
        'n' => '\n',
        't' => '\t',
        'r' => '\r',
        'b' => '\u{8}',
        '0' => '\0',
        'Z' => '\u{1a}',
        other => other,
    }
}

/// A walk over tokens.
#[derive(Clone)]
pub(super) struct Reading<'a>(pub(super) &'a [Token]);

impl<'a> Reading<'a> {
    pub(super) fn is_over(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn next(&mut self) -> Option<&'a Token> {
        let (first, rest) = self.0.split_first()?;
        self.0 = rest;
        Some(first)
    }

    /// Passes over these words if they come next.
    pub(super) fn is(&mut self, words: &[&str]) -> bool {
        let come = self.comes(words);
        if come {
            self.0 = &self.0[words.len()..];
        }
        come
    }

    pub(super) fn comes(&self, words: &[&str]) -> bool {
        let is_word = |(token, word): (&Token, &&str)| matches!(token, Token::Word(found) if found.eq_ignore_ascii_case(word));
        self.0.len() >= words.len() && self.0.iter().zip(words).all(is_word)
    }

    /// Passes over one of these words.
    pub(super) fn is_any(&mut self, words: &[&str]) -> bool {
        words.iter().any(|word| self.is(&[word]))
    }

    pub(super) fn is_sign(&mut self, sign: char) -> bool {
        let comes = self.0.first() == Some(&Token::Sign(sign));
        if comes {
            self.next();
        }
        comes
    }

    /// In lower case, as columns are told apart.
    pub(super) fn name(&mut self) -> Option<String> {
        match self.next()? {
            Token::Word(name) | Token::Name(name) => Some(name.to_lowercase()),
            Token::Text(_) | Token::Sign(_) => None,
        }
    }

    /// The value of an option, with or without a sign before it.
    pub(super) fn value(&mut self) -> Option<String> {
        self.is_sign('=');
        match self.next()? {
            Token::Word(value) | Token::Name(value) | Token::Text(value) => Some(value.to_lowercase()),
            Token::Sign(_) => None,
        }
    }

    pub(super) fn number(&mut self) -> Option<u32> {
        match self.next()? {
            Token::Word(digits) => digits.parse().ok(),
            Token::Name(_) | Token::Text(_) | Token::Sign(_) => None,
        }
    }

    /// What stands in the parentheses that come next.
    pub(super) fn group(&mut self) -> Option<Reading<'a>> {
        if self.0.first() != Some(&Token::Sign('(')) {
            return None;
        }
        let mut depth = 0_usize;
        for (at, token) in self.0.iter().enumerate() {
            match token {
                Token::Sign('(') => depth += 1,
                Token::Sign(')') => depth -= 1,
                _ => {}
            }
            if depth == 0 {
                let inside = Reading(&self.0[1..at]);
                self.0 = &self.0[at + 1..];
                return Some(inside);
            }
        }
        None
    }

    /// Cut at the commas that stand in no parentheses. `None`: these do not match, or a second statement follows.
    pub(super) fn parts(&self) -> Option<Vec<Reading<'a>>> {
        let (mut parts, mut begin, mut depth) = (Vec::new(), 0, 0_usize);
        for (at, token) in self.0.iter().enumerate() {
            match token {
                Token::Sign('(') => depth += 1,
                Token::Sign(')') => depth = depth.checked_sub(1)?,
                Token::Sign(',') if depth == 0 => {
                    parts.push(Reading(&self.0[begin..at]));
                    begin = at + 1;
                }
                Token::Sign(';') => return None,
                _ => {}
            }
        }
        parts.push(Reading(&self.0[begin..]));
        (depth == 0).then_some(parts)
    }
}
