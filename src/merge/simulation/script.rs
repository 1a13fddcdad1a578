//! What users, links and the collection do, drawn from a seed and from nothing else: so that the model here and real
//! servers (`tests/schedules.rs`, which includes this file) go through the same schedules.

/// splitmix64
pub struct Random(pub u64);

impl Random {
    pub fn below(&mut self, end: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        usize::try_from((z ^ (z >> 31)) % end as u64).unwrap()
    }

    pub fn one_in(&mut self, many: usize) -> bool {
        self.below(many) == 0
    }

    /// One transaction of a user: one to three statements.
    pub fn transaction(&mut self) -> Vec<Statement> {
        (0..1 + self.below(8) / 5).map(|_| self.statement()).collect()
    }

    fn statement(&mut self) -> Statement {
        Statement {
            key: self.below(KEYS) as i64,
            what: match self.below(12) {
                0..=2 => What::Delete,
                3 => What::Move,
                _ => What::Update,
            },
            to: self.below(KEYS) as i64,
            columns: match self.below(5) {
                0 => (true, true, true),
                1 => (true, false, false),
                2 => (false, true, false),
                3 => (false, true, true),
                _ => (false, false, true),
            },
            add: 1 + self.below(9) as i64,
            side: [1, 2, 3, 0, 0][self.below(5)],
        }
    }
}

/// A user sees few rows, so that many meet.
pub const KEYS: usize = 3;

/// What is done to a row that stands. One that does not is inserted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum What {
    Delete,
    Move,
    Update,
}

#[derive(Debug, Clone, Copy)]
pub struct Statement {
    pub key: i64,
    pub what: What,
    /// Where a row moves to.
    pub to: i64,
    /// Which of phone, mail and stock an update changes, where it does not change them all.
    pub columns: (bool, bool, bool),
    pub add: i64,
    /// Which side of the filters the row is on; 0: of none.
    pub side: i64,
}

impl Statement {
    /// The row matches the table's filter.
    pub fn is_within(&self) -> bool {
        self.side > 0
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    Write,
    Deliver,
    /// A group is lost before its COMMIT.
    Restart,
    /// An insert that has read what it starts above, and is written later.
    Race,
    Collect,
    /// An idle checkpoint.
    Idle,
}

/// How often what is done.
#[derive(Debug, Clone, Copy)]
pub struct Script {
    pub steps: usize,
    /// Nothing is deleted, so that what is taken away can be judged.
    pub keeps: bool,
    pub writes: usize,
    pub delivers: usize,
    pub collects: usize,
}

impl Script {
    pub fn draw(random: &mut Random) -> Script {
        // The long ones are for the collection of tombstones.
        let is_long = random.one_in(5);
        Script {
            steps: match is_long {
                true => 100 + random.below(100),
                false => 14 + random.below(46),
            },
            keeps: random.one_in(3),
            writes: 4 + random.below(10),
            delivers: 6,
            collects: random.below(8),
        }
    }

    pub fn step(&self, random: &mut Random) -> Step {
        let rare = self.writes + self.delivers;
        match random.below(rare + 2 + 2 * self.collects) {
            at if at < self.writes => Step::Write,
            at if at < rare => Step::Deliver,
            at if at == rare => Step::Restart,
            at if at == rare + 1 => Step::Race,
            at if at < rare + 2 + self.collects => Step::Collect,
            _ => Step::Idle,
        }
    }
}
