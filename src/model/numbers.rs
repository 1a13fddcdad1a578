//! Numbers that the nodes of a sync give to new rows, kept apart: every node counts in a class of its own.
//!
//! Pure. Owns: which numbers are a node's, and the step that all count by. Refuses: counting (the servers do, by
//! sequences and AUTO_INCREMENT; the engines' `setup/numbers` set them).

use super::schema::TableId;
use super::stamp::Rank;

/// A node's numbers: `class`, `class + step`, `class + 2 * step` and so on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Numbers {
    pub step: i64,
    /// From 1 to `step`: the node's rank.
    pub class: i64,
}

/// With fewer, a node more would soon need every counter set anew.
const STEP_MIN: i64 = 4;

impl Numbers {
    /// Of the node of this rank among `ranks`. The step is a power of two above the greatest rank, so that there is room
    /// for one more node, and a greater step later only cuts classes in two.
    pub fn of(rank: Rank, ranks: impl Iterator<Item = Rank>) -> Numbers {
        let greatest = ranks.max().unwrap_or(rank).max(rank);
        let step = (i64::from(greatest) + 1).max(STEP_MIN);
        Numbers {
            step: i64::try_from(step.unsigned_abs().next_power_of_two()).unwrap_or(step),
            class: i64::from(rank),
        }
    }

    pub fn holds(self, number: i64) -> bool {
        number.rem_euclid(self.step) == self.class.rem_euclid(self.step)
    }
}

/// Rows of a table that came by a link under numbers of another node than the one they were inserted on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Strays {
    pub link: String,
    /// By the source's name.
    pub table: TableId,
    pub count: u64,
    /// By the target's clock.
    pub last_at: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_number_is_of_one_node_and_there_is_room_for_another() {
        for (ranks, step) in [
            (vec![1, 2], 4),
            (vec![1, 2, 3], 4),
            (vec![1, 2, 3, 4], 8),
            (vec![1, 7], 8),
            (vec![8], 16),
            (vec![1, 32_767], 32_768),
        ] {
            let nodes = || ranks.iter().map(|rank| Numbers::of(*rank, ranks.iter().copied()));
            assert!(nodes().all(|numbers| numbers.step == step), "{ranks:?}");
            for number in -40..40 {
                assert!(nodes().filter(|numbers| numbers.holds(number)).count() <= 1);
            }
            assert!(nodes().all(|numbers| numbers.holds(numbers.class + 3 * numbers.step)));
        }
    }

    #[test]
    fn a_greater_step_takes_no_number_from_another_node() {
        let (few, more): (Vec<Rank>, Vec<Rank>) = ((1..=3).collect(), (1..=4).collect());
        let newcomer = Numbers::of(4, more.iter().copied());
        for rank in &few {
            let before = Numbers::of(*rank, few.iter().copied());
            assert!((0..64).all(|number| !(newcomer.holds(number) && before.holds(number))));
        }
    }
}
