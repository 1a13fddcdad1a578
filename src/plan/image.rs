//! An image of a table's rows, beside the table that it is to become.
//!
//! Owns: which columns an image fills, by what its rows are told apart, and which rows must be taken away and put back
//! because they may trade unique values. Pure; the engines have the statements (`sql::image`).

use super::{Plan, Shape};
use crate::model::schema::{Table, TableId};
use std::sync::Arc;

/// What helps where the target cannot be made equal to the image.
pub const UNFIT: &str = "nothing was changed: correct the rows at the source, or alter the target's table so that it takes \
    them, then start `tidelock run` again";

#[derive(Debug, Clone)]
pub struct Image {
    /// The target's table.
    pub shape: Arc<Shape>,
    /// The same columns where the image lies.
    pub image: Shape,
    /// Target columns that the image fills.
    pub cells: Vec<usize>,
    /// Rows are told apart by the target's key; else only whole tables are the same or not.
    pub is_keyed: bool,
    /// Of the cells: a row whose values of these differ is deleted and inserted.
    pub traded: Vec<usize>,
}

impl Image {
    /// `place`: where the image lies; `always`: columns that no UPDATE may set.
    pub fn new(plan: &Plan, place: TableId, always: &[String]) -> Image {
        let table = &plan.shape.table;
        let cells: Vec<usize> = plan.carried().collect();
        let is_filled = |place: &usize| cells.contains(place);
        let is_always = |place: &usize| always.contains(&table.columns[*place].name);
        // What the target has of its own in a row stays with the row, which is then updated whatever it trades.
        let is_whole =
            (0..table.columns.len()).all(|place| table.columns[place].generated || is_filled(&place));
        let in_unique = |place: &usize| is_whole && table.uniques.iter().any(|unique| unique.contains(place));
        let traded = cells.iter().copied();
        let traded =
            traded.filter(|place| !table.key.contains(place) && (in_unique(place) || is_always(place)));
        Image {
            image: Shape {
                table: Arc::new(Table {
                    id: place,
                    ..Table::clone(table)
                }),
                stamps: None,
                untouched: Vec::new(),
            },
            is_keyed: !table.key.is_empty() && table.key.iter().all(is_filled),
            traded: traded.collect(),
            shape: Arc::clone(&plan.shape),
            cells,
        }
    }

    /// Columns of the key.
    pub fn key(&self) -> &[usize] {
        &self.shape.table.key
    }

    /// What an UPDATE sets: neither key nor what is traded.
    pub fn settled(&self) -> Vec<usize> {
        let is_settled = |place: &usize| !self.key().contains(place) && !self.traded.contains(place);
        self.cells.iter().copied().filter(is_settled).collect()
    }
}
