//! Statement text for MySQL and MariaDB.
//!
//! Owns: quoting and every statement the target builds.
//! Refuses: I/O. Every table is named with its database.

use crate::model::schema::TableId;

/// An identifier in backticks.
pub fn quote(ident: &str) -> String {
    format!("`{}`", ident.replace('`', "``"))
}

pub fn table(id: &TableId) -> String {
    format!("{}.{}", quote(&id.schema), quote(&id.name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn identifiers_are_quoted_whatever_they_hold() {
        assert_eq!(quote("a`; drop--"), "`a``; drop--`");
        assert_eq!(table(&TableId::new("My S", "order")), "`My S`.`order`");
    }
}
