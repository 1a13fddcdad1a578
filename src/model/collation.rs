//! Which texts a collation of MySQL or MariaDB takes for one.
//!
//! Pure. Owns: what its name says of case, accents and trailing blanks. Refuses: the finer rules of its tables (that some
//! take `ß` for `ss`): who asks must take the answer for what is surely one, and no more.

/// What makes no difference to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Folds {
    pub case: bool,
    pub accents: bool,
    pub blanks: bool,
}

impl Folds {
    /// `name`: empty where texts are compared as they are.
    pub fn of(name: &str) -> Folds {
        if name.is_empty() || name == "binary" {
            return Folds::default();
        }
        let says = |word: &str| name.split('_').any(|part| part == word);
        let is_binary = says("bin");
        Folds {
            case: !is_binary && !says("cs"),
            // A name that tells of case alone says nothing of accents, and takes them for none.
            accents: !is_binary && !says("as") && !says("cs"),
            blanks: !says("0900") && !says("nopad"),
        }
    }

    pub fn any(self) -> bool {
        self.case || self.accents || self.blanks
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_says_what_it_takes_for_one() {
        let told = |name: &str| {
            let folds = Folds::of(name);
            (folds.case, folds.accents, folds.blanks)
        };
        for (name, expected) in [
            ("", (false, false, false)),
            ("binary", (false, false, false)),
            ("utf8mb4_bin", (false, false, true)),
            ("utf8mb4_0900_bin", (false, false, false)),
            ("utf8mb4_nopad_bin", (false, false, false)),
            ("utf8mb4_0900_ai_ci", (true, true, false)),
            ("utf8mb4_0900_as_cs", (false, false, false)),
            ("utf8mb4_0900_as_ci", (true, false, false)),
            ("utf8mb4_general_ci", (true, true, true)),
            ("latin1_swedish_ci", (true, true, true)),
            ("utf8mb4_uca1400_ai_ci", (true, true, true)),
            ("utf8mb4_uca1400_nopad_as_ci", (true, false, false)),
        ] {
            assert_eq!(told(name), expected, "{name}");
        }
        assert!(Folds::of("utf8mb4_bin").any() && !Folds::of("").any());
    }
}
