//! What is simulated: every combination of rules wherever it is offered (`merge::offered`, which the configuration asks
//! too), and the variants that leave something out.

use crate::merge::offered::{Around, refused};
use crate::model::rules::{ColumnRule, OnDelete, Rule, TableRules};
use crate::model::stamp::Rank;
use std::fmt;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Topology {
    /// Two nodes; with more, each with each.
    Mesh,
    /// The first is the hub.
    Hub,
}

/// What the model does wrongly, to see the oracle fail.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wrong {
    Nothing,
    NoTombstone,
    NoTieRule,
    ReinsertAtOne,
    /// An update keeps its row's stamp.
    Unraised,
    /// The touch that repairs it is left out.
    MissedBump,
    /// A row that a peer kept out is touched though a third node's delete of it is still on its way.
    TouchedTooSoon,
    PatchOnEqualVersion,
    NoRowOrigin,
    /// What the collection still waits for is not waited for.
    TombstoneDroppedEarly,
    /// A peer that knows of the deletes is taken for one whose log is applied here up to there.
    PeerNotRead,
    /// Whether a peer knows of the deletes of other nodes is not asked.
    ThirdNodeUnasked,
    ReinsertBelowFloor,
    CompactionOverBrokenChain,
    HubSwallowsTombstones,
    /// A hub tells of a delete only by the row that it deleted.
    HubDerivesTombstones,
    EveryNodeArbiter,
    /// What leaves a filter is a delete like any other.
    LeavesAsDelete,
    Unfiltered,
    /// A standing row outside of the filter that wins says nothing.
    Untold,
    /// What is written over the other node's rows is not sent.
    ToldUnsent,
    /// It is taken for a delete.
    ToldAsDelete,
    /// It is not answered.
    Unrecalled,
    /// A row of the other node alone, deleted here unseen, is raised as if it were everybody's.
    LiftedBorrowed,
    /// Above what stands at a hub and a spoke does not hold, stamps decide.
    UnheldByStamps,
    /// A delete of it that is above is left. No schedule was seen to show it, see [`Setup::held`].
    UnheldDeletesKept,
    /// A hub's answers go by the spoke's condition like anything else.
    AnswerUntold,
    /// They go to all spokes.
    AnsweredToAll,
    /// What a hub passes on goes to all spokes.
    PassedOnUnheld,
    /// The spokes may say who holds a row.
    RegionUnowned,
    /// What another node owns is written like anything else.
    ForeignKept,
    /// It is left out, and the row keeps the stamp that it came with.
    ForeignUnraised,
    /// The truth keeps its row by origin, without raising its stamp.
    KeptByOrigin,
    /// A node that joins gets the rows alone.
    JoinsWithoutTombstones,
    /// It is filled from a node that has not applied yet what the others wrote before they were listened to.
    JoinsUnwaited,
    /// What a node that left had told some of the others is not brought to the rest.
    LeavesUnsettled,
    /// A rule where it is refused.
    RuleElsewhere,
}

/// Which nodes there are, and who has a link to whom.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shape {
    pub topology: Topology,
    pub nodes: usize,
    /// The rank of the first node, which is the hub where there is one.
    pub first: Rank,
    /// The last node joins while the others run.
    pub joins: bool,
    /// The last node leaves while the others run.
    pub leaves: bool,
    pub is_filtered: bool,
    /// Each direction has a filter of its own.
    pub is_apart: bool,
    /// The stock is the second rank's to write, and deletes are the first one's.
    pub is_owned: bool,
    /// The first node is a hub with two spokes that hold some of its rows; a third one holds all.
    pub is_held: bool,
}

impl Shape {
    const fn new(topology: Topology, nodes: usize) -> Shape {
        Shape {
            topology,
            nodes,
            first: 1,
            joins: false,
            leaves: false,
            is_filtered: false,
            is_apart: false,
            is_owned: false,
            is_held: false,
        }
    }

    const fn held(self) -> Shape {
        Shape {
            is_held: true,
            ..self
        }
    }

    const fn owned(self) -> Shape {
        Shape {
            is_owned: true,
            ..self
        }
    }

    const fn apart(self) -> Shape {
        Shape {
            is_filtered: true,
            is_apart: true,
            ..self
        }
    }

    fn hub(self) -> Option<Rank> {
        (self.topology == Topology::Hub).then_some(self.first)
    }

    fn around(self) -> Around {
        Around {
            nodes: self.nodes,
            hub: self.hub(),
            copied_from: None,
            is_union: false,
            is_filtered: self.is_filtered,
            is_apart: self.is_apart,
            is_owned: self.is_owned,
            is_held: self.is_held,
        }
    }
}

impl fmt::Display for Shape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let topology = match (self.topology, self.nodes) {
            (Topology::Mesh, 2) => "pair",
            (Topology::Mesh, _) => "mesh",
            (Topology::Hub, _) => "hub",
        };
        match (self.joins, self.leaves) {
            (true, _) => write!(f, "{topology} of {} -> {}", self.nodes - 1, self.nodes)?,
            (false, true) => write!(f, "{topology} of {} -> {}", self.nodes, self.nodes - 1)?,
            (false, false) => write!(f, "{topology} of {}", self.nodes)?,
        }
        match self.first {
            1 => Ok(()),
            hub => write!(f, " around {hub}"),
        }
    }
}

const PAIR: Shape = Shape::new(Topology::Mesh, 2);
const MESH: Shape = Shape::new(Topology::Mesh, 3);
const MESH_OF_4: Shape = Shape::new(Topology::Mesh, 4);
const HUB: Shape = Shape::new(Topology::Hub, 3);
const HUB_OF_4: Shape = Shape::new(Topology::Hub, 4);
const EVERYWHERE: [Shape; 5] = [PAIR, MESH, MESH_OF_4, HUB, HUB_OF_4];

fn shapes() -> Vec<Shape> {
    let joins = |shape: Shape| Shape { joins: true, ..shape };
    let leaves = |shape: Shape| Shape {
        leaves: true,
        ..shape
    };
    let filtered = |shape: Shape| Shape {
        is_filtered: true,
        ..shape
    };
    let more = [
        Shape { first: 3, ..HUB },
        joins(MESH),
        joins(MESH_OF_4),
        joins(HUB),
        leaves(MESH),
        leaves(MESH_OF_4),
        leaves(HUB_OF_4),
        filtered(PAIR),
        PAIR.apart(),
        // The second node's rank is below the first one's.
        Shape { first: 2, ..PAIR }.apart(),
        filtered(MESH),
        filtered(HUB),
        filtered(PAIR).owned(),
        PAIR.apart().owned(),
        Shape { first: 2, ..PAIR }.apart().owned(),
        PAIR.owned(),
        MESH.owned(),
        HUB.owned(),
        HUB_OF_4.owned(),
        Shape { first: 2, ..HUB }.owned(),
        PAIR.held(),
        MESH.held(),
        HUB.held(),
        HUB_OF_4.held(),
        Shape { first: 3, ..HUB }.held(),
        joins(HUB).held(),
        leaves(HUB_OF_4).held(),
        HUB.held().owned(),
    ];
    EVERYWHERE.into_iter().chain(more).collect()
}

#[derive(Debug, Clone)]
pub struct Setup {
    pub rules: TableRules,
    pub shape: Shape,
    pub wrong: Wrong,
}

impl std::ops::Deref for Setup {
    type Target = Shape;

    fn deref(&self) -> &Shape {
        &self.shape
    }
}

impl fmt::Display for Setup {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let filter = match (self.is_filtered, self.is_apart) {
            (false, _) if self.is_held && self.is_owned => " held owned",
            (false, _) if self.is_held => " held",
            (false, _) if self.is_owned => " owned",
            (false, _) => "",
            (true, false) if self.is_owned => " where owned",
            (true, true) if self.is_owned => " where each way owned",
            (true, false) => " where",
            (true, true) => " where each way",
        };
        write!(f, "{}, {}{filter}", self.shape, self.rules.signature())
    }
}

impl Setup {
    /// A hub and one spoke that holds some of its rows.
    pub fn held(wrong: Wrong) -> Setup {
        Setup {
            rules: table(Rule::Newest),
            shape: PAIR.held(),
            wrong,
        }
    }

    /// Do writes change some columns of a row and not all?
    pub fn is_partial(&self) -> bool {
        self.rules.merges()
    }

    /// In the order of the nodes.
    pub fn ranks(&self) -> Vec<Rank> {
        let all = 1..=Rank::try_from(self.nodes).unwrap();
        let others = all.filter(|rank| *rank != self.first);
        [self.first].into_iter().chain(others).collect()
    }
}

fn table(row: Rule) -> TableRules {
    TableRules {
        row,
        arbiter: match row {
            Rule::SourceOfTruth(truth) => truth,
            Rule::Newest | Rule::Columns | Rule::Ask => 1,
        },
        ..TableRules::default()
    }
}

fn with_columns(rules: TableRules, columns: &[(&str, ColumnRule)]) -> TableRules {
    let columns = columns.iter().map(|(name, rule)| ((*name).to_owned(), *rule));
    TableRules {
        columns: columns.collect(),
        ..rules
    }
}

fn deltas(row: Rule) -> TableRules {
    with_columns(table(row), &[("stock", ColumnRule::Delta)])
}

/// Whatever can be said of a table there, offered or not.
fn rules(shape: Shape) -> Vec<TableRules> {
    let ranks = 1..=Rank::try_from(shape.nodes).unwrap();
    let rows = [Rule::Newest, Rule::Columns, Rule::Ask].into_iter();
    let rows: Vec<Rule> = rows.chain(ranks.clone().map(Rule::SourceOfTruth)).collect();
    let mut all = Vec::new();
    for (row, on_delete) in rows
        .iter()
        .flat_map(|row| OnDelete::ALL.map(|on_delete| (*row, on_delete)))
    {
        let (mail, stock) = match row {
            Rule::Columns => (("mail", ColumnRule::Row), ("stock", ColumnRule::Delta)),
            Rule::Newest | Rule::SourceOfTruth(_) | Rule::Ask => {
                (("mail", ColumnRule::Columns), ("stock", ColumnRule::Delta))
            }
        };
        for columns in [&[][..], &[mail], &[stock], &[mail, stock]] {
            let rules = TableRules {
                on_delete,
                ..with_columns(table(row), columns)
            };
            let is_named = rules.is_arbitrated() && !matches!(row, Rule::SourceOfTruth(_));
            let arbiters = ranks.clone().filter(|rank| is_named || *rank == rules.arbiter);
            all.extend(arbiters.map(|arbiter| TableRules {
                arbiter,
                ..rules.clone()
            }));
        }
    }
    all
}

/// Every combination, and whether it is offered.
pub fn combinations() -> Vec<(Setup, bool)> {
    let each = shapes().into_iter().flat_map(|shape| {
        let rules = rules(shape).into_iter();
        // A column that has an owner has no other rule.
        let rules = rules.filter(move |rules| !(shape.is_owned && rules.columns.contains_key("stock")));
        rules.map(move |rules| {
            let is_offered = refused(&rules, shape.around()).is_none();
            let wrong = Wrong::Nothing;
            (Setup { rules, shape, wrong }, is_offered)
        })
    });
    each.collect()
}

/// What is offered; the plain rule, on which all others stand, more often.
pub fn offered() -> Vec<Setup> {
    const MORE: usize = 8;
    let offered = combinations().into_iter().filter(|(_, is_offered)| *is_offered);
    let often = offered.flat_map(|(setup, _)| {
        let is_plain = setup.rules.signature() == Rule::Newest.name();
        std::iter::repeat_n(setup, if is_plain { MORE } else { 1 })
    });
    often.collect()
}

impl Wrong {
    /// These show where tombstones are collected all the time.
    pub fn is_of_collection(self) -> bool {
        use Wrong::{PeerNotRead, ReinsertBelowFloor, ThirdNodeUnasked, TombstoneDroppedEarly};
        [
            PeerNotRead,
            ReinsertBelowFloor,
            ThirdNodeUnasked,
            TombstoneDroppedEarly,
        ]
        .contains(&self)
    }

    /// With the setups in which each must be seen to fail.
    pub fn all() -> Vec<(&'static str, Vec<Setup>)> {
        [Wrong::of_stamps(), Wrong::of_tombstones(), Wrong::of_rules()].concat()
    }

    fn of_stamps() -> Vec<(&'static str, Vec<Setup>)> {
        let newest = |wrong: Wrong, shapes: &[Shape]| of(wrong, table(Rule::Newest), shapes);
        let meshes = [MESH, MESH_OF_4];
        vec![
            ("no-tombstone", newest(Wrong::NoTombstone, &EVERYWHERE)),
            ("no-tie-rule", newest(Wrong::NoTieRule, &EVERYWHERE)),
            ("re-insert-at-1", newest(Wrong::ReinsertAtOne, &EVERYWHERE)),
            ("unraised-update", newest(Wrong::Unraised, &EVERYWHERE)),
            ("missed-bump", newest(Wrong::MissedBump, &EVERYWHERE)),
            ("touched-too-soon", newest(Wrong::TouchedTooSoon, &meshes)),
            (
                "patch-on-equal-version",
                newest(Wrong::PatchOnEqualVersion, &EVERYWHERE),
            ),
            ("no-row-origin", newest(Wrong::NoRowOrigin, &EVERYWHERE[1..])),
        ]
    }

    fn of_tombstones() -> Vec<(&'static str, Vec<Setup>)> {
        let newest = |wrong: Wrong, shapes: &[Shape]| of(wrong, table(Rule::Newest), shapes);
        let joining = [MESH, HUB].map(|shape| Shape { joins: true, ..shape });
        let joining_meshes = [MESH, MESH_OF_4].map(|shape| Shape { joins: true, ..shape });
        let leaving = [MESH, MESH_OF_4].map(|shape| Shape {
            leaves: true,
            ..shape
        });
        let hubs = [HUB, HUB_OF_4];
        vec![
            (
                "tombstone-dropped-early",
                newest(Wrong::TombstoneDroppedEarly, &EVERYWHERE),
            ),
            ("peer-not-read", newest(Wrong::PeerNotRead, &EVERYWHERE)),
            ("third-node-unasked", newest(Wrong::ThirdNodeUnasked, &[MESH])),
            (
                "re-insert-below-floor",
                newest(Wrong::ReinsertBelowFloor, &[PAIR, MESH, HUB, HUB_OF_4]),
            ),
            (
                "hub-swallows-tombstones",
                newest(Wrong::HubSwallowsTombstones, &hubs),
            ),
            (
                "hub-derives-tombstones",
                newest(Wrong::HubDerivesTombstones, &hubs),
            ),
            (
                "joins-without-tombstones",
                newest(Wrong::JoinsWithoutTombstones, &joining),
            ),
            ("joins-unwaited", newest(Wrong::JoinsUnwaited, &joining_meshes)),
            ("leaves-unsettled", newest(Wrong::LeavesUnsettled, &leaving)),
        ]
    }

    fn of_rules() -> Vec<(&'static str, Vec<Setup>)> {
        let newest = |wrong: Wrong, shapes: &[Shape]| of(wrong, table(Rule::Newest), shapes);
        let elsewhere = |rules: TableRules, shape: Shape| of(Wrong::RuleElsewhere, rules, &[shape]);
        let on_delete = |on_delete| TableRules {
            on_delete,
            ..table(Rule::Newest)
        };
        let merging = |wrong: Wrong| {
            let rules = [deltas(Rule::Newest), table(Rule::Columns)];
            rules.map(|rules| of(wrong, rules, &[PAIR, HUB])).concat()
        };
        let filtered = [Shape {
            is_filtered: true,
            ..PAIR
        }];
        let held = [PAIR, HUB, HUB_OF_4].map(Shape::held);
        vec![
            (
                "compaction-over-broken-chain",
                merging(Wrong::CompactionOverBrokenChain),
            ),
            ("every-node-arbiter", merging(Wrong::EveryNodeArbiter)),
            (
                "truth-by-origin",
                of(Wrong::KeptByOrigin, table(Rule::SourceOfTruth(1)), &[PAIR, HUB]),
            ),
            (
                "foreign-kept",
                newest(Wrong::ForeignKept, &[PAIR.owned(), MESH.owned(), HUB.owned()]),
            ),
            (
                "foreign-unraised",
                newest(Wrong::ForeignUnraised, &[PAIR.owned(), MESH.owned(), HUB.owned()]),
            ),
            ("leaves-as-delete", newest(Wrong::LeavesAsDelete, &filtered)),
            ("unfiltered", newest(Wrong::Unfiltered, &filtered)),
            ("untold", newest(Wrong::Untold, &[filtered[0], PAIR.apart()])),
            ("told-unsent", newest(Wrong::ToldUnsent, &[PAIR.apart()])),
            ("told-as-delete", newest(Wrong::ToldAsDelete, &[PAIR.apart()])),
            ("unrecalled", newest(Wrong::Unrecalled, &[PAIR.apart()])),
            ("lifted-borrowed", newest(Wrong::LiftedBorrowed, &[PAIR.apart()])),
            ("unheld-by-stamps", newest(Wrong::UnheldByStamps, &held)),
            ("answer-untold", newest(Wrong::AnswerUntold, &held)),
            ("answered-to-all", newest(Wrong::AnsweredToAll, &held[1..])),
            ("passed-on-unheld", newest(Wrong::PassedOnUnheld, &held[1..])),
            ("region-unowned", newest(Wrong::RegionUnowned, &held)),
            (
                "hub-truth-on-spoke",
                elsewhere(table(Rule::SourceOfTruth(2)), HUB),
            ),
            ("mesh-columns", elsewhere(table(Rule::Columns), MESH)),
            ("mesh-truth", elsewhere(table(Rule::SourceOfTruth(1)), MESH)),
            ("mesh-delete-loses", elsewhere(on_delete(OnDelete::Update), MESH)),
            ("mesh-delete-wins", elsewhere(on_delete(OnDelete::Delete), MESH)),
        ]
    }
}

fn of(wrong: Wrong, rules: TableRules, shapes: &[Shape]) -> Vec<Setup> {
    let each = shapes.iter().map(|shape| Setup {
        rules: rules.clone(),
        shape: *shape,
        wrong,
    });
    each.collect()
}
