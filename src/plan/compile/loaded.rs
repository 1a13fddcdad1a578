//! Rows of a first copy that are loaded, not decided.
//!
//! Owns: the row as the target takes it, and whether the source's own text of a row is just that. Refuses: rows that the
//! target cannot hold, which are planned as changes are.

use super::{Carried, Plan};
use crate::error::Result;
use crate::model::schema::{Column, Engine};
use crate::model::value::Row;
use crate::typemap::{self, Refusal};

impl Plan {
    /// Is the row, as it stands, what the target takes? Quicker than [`Self::loaded`], and unsure of some that are:
    /// then `false`.
    pub fn stays(&self, row: &Row) -> bool {
        let does = |carried: &Carried| {
            let source = &self.source.columns[carried.source];
            let target = &self.shape.table.columns[carried.target];
            let (from, to) = (self.source_engine, self.target_engine);
            let value = row.get(carried.source);
            !carried.may_lose
                && carried.translation.is_none()
                && value.is_some_and(|value| typemap::stays(value, &source.ty, from, target, to))
        };
        self.filters.is_none()
            && self.formulas.is_empty()
            && self.stamp(row).is_ok()
            && self.columns.iter().all(does)
    }

    /// Source columns that are carried, in the order of [`Self::carried`].
    pub fn carried_from(&self) -> impl Iterator<Item = usize> {
        self.columns.iter().map(|carried| carried.source)
    }

    /// A row of a first copy, without what it takes to decide. `None`: the target cannot hold it.
    pub fn loaded(&self, row: &Row) -> Result<Option<Row>> {
        self.stamp(row)?;
        Ok(self.proven(row, None).ok().map(|(_, row, _)| row))
    }

    /// Why a row of a first copy would not pass.
    pub fn refusal(&self, row: &Row) -> Option<Refusal> {
        self.proven(row, None).err()
    }

    /// What of a row the target cannot hold.
    pub fn unheld(&self, row: &Row) -> Option<Refusal> {
        self.row(row).err()
    }

    /// Where the cells of a row of a first copy go, in the source's order, if every one of them goes as it is: the text
    /// that the source prints is the one that the target reads.
    pub fn verbatim(&self) -> Option<Vec<usize>> {
        let is_beside = self.shape.beside().is_some() || self.source.is_beside();
        let engines = (self.source_engine, self.target_engine);
        if is_beside
            || self.is_filtered()
            || !self.formulas.is_empty()
            || engines != (Engine::Postgres, Engine::Postgres)
        {
            return None;
        }
        let columns = self.source.columns.iter().enumerate();
        let place = |(index, column): (usize, &Column)| {
            let carried = self.columns.iter().find(|carried| carried.source == index)?;
            let target = &self.shape.table.columns[carried.target];
            let is_same =
                column.ty == target.ty && column.sql_type == target.sql_type && carried.translation.is_none();
            is_same.then_some(carried.target)
        };
        columns
            .filter(|(_, column)| !column.generated)
            .map(place)
            .collect()
    }

    pub fn source_engine(&self) -> Engine {
        self.source_engine
    }

    pub fn target_engine(&self) -> Engine {
        self.target_engine
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::mapping::Passage;
    use crate::model::schema::{ColumnType, Table, TableId};
    use std::sync::Arc;

    fn table(columns: &[(&str, &str, bool)]) -> Arc<Table> {
        let column = |(name, sql_type, generated): &(&str, &str, bool)| Column {
            name: (*name).to_owned(),
            ty: ColumnType::Int {
                bits: if *sql_type == "integer" { 32 } else { 64 },
                unsigned: false,
            },
            sql_type: (*sql_type).to_owned(),
            collation: String::new(),
            nullable: true,
            generated: *generated,
            has_default: false,
        };
        Arc::new(Table {
            id: TableId::new("s", "t"),
            columns: columns.iter().map(column).collect(),
            key: vec![columns.iter().position(|(name, ..)| *name == "id").unwrap()],
            uniques: Vec::new(),
            external: None,
        })
    }

    fn verbatim(
        source: &[(&str, &str, bool)],
        target: &[(&str, &str, bool)],
        to: Engine,
    ) -> Option<Vec<usize>> {
        let (source, target) = (table(source), table(target));
        let passage = Passage::default();
        Plan::compile(&source, Engine::Postgres, &target, to, false, &passage)
            .unwrap()
            .verbatim()
    }

    #[test]
    fn rows_go_as_they_are_between_columns_of_one_type() {
        let (id, n, wide) = (
            ("id", "integer", false),
            ("n", "integer", false),
            ("n", "bigint", false),
        );
        let (sum, domain) = (("sum", "integer", true), ("n", "public.count", false));
        let postgres = Engine::Postgres;
        assert_eq!(verbatim(&[id, n], &[n, id], postgres), Some(vec![1, 0]));
        assert_eq!(verbatim(&[sum, id, n], &[id, sum, n], postgres), Some(vec![0, 2]));
        assert_eq!(verbatim(&[id, n], &[id, wide], postgres), None);
        assert_eq!(verbatim(&[id, wide], &[id, domain], postgres), None);
        assert_eq!(verbatim(&[id, n], &[id, n], Engine::Mysql), None);
    }
}
