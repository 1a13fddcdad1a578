//! Changes that wait, as one MySQL or MariaDB server keeps them: written in the transactions of the link.
//!
//! Owns: reading and writing `tidelock.parked`, and `tidelock.missed_bump` as far as the
//! link that notes writes it. Refuses: deciding what waits (see `flow::apply`). Fails: as the target does. A change that
//! no packet holds waits without its cells: then only a write above it ends the wait.

use super::super::sql::{Sql, parked as sql};
use super::Target;
use crate::batch;
use crate::error::{Error, Result};
use crate::model::parked::{MissedBump, ParkKind, Parked, ParkedKey};
use crate::model::schema::TableId;
use crate::model::stamp::Stamp;
use mysql_async::prelude::{FromValue, Queryable};
use mysql_async::{Row, Value};

const DOING: &str = "read changes that wait";

impl Target {
    /// All that waits for a link, oldest first, without the cells: their sizes beside it.
    pub async fn parked(&mut self, sync: &str, link: &str) -> Result<Vec<(Parked, usize)>> {
        self.parked_by(sql::parked(sync, link)).await
    }

    /// These of them, whole, oldest first.
    pub async fn parked_rows(&mut self, sync: &str, link: &str, keys: &[ParkedKey]) -> Result<Vec<Parked>> {
        let rows = self.parked_by(sql::parked_rows(sync, link, keys)).await?;
        Ok(rows.into_iter().map(|(parked, _)| parked).collect())
    }

    async fn parked_by(&mut self, statement: Sql) -> Result<Vec<(Parked, usize)>> {
        let rows: Vec<Row> = match self.conn.query(statement).await {
            Ok(rows) => rows,
            Err(error) => return Err(self.failed(DOING, error)),
        };
        let unknown = || {
            Error::definite(DOING)
                .node(&self.node)
                .why("a row of tidelock.parked is of another version of Tidelock")
        };
        rows.into_iter()
            .map(|mut row| parked_row(&mut row).ok_or_else(unknown))
            .collect()
    }

    /// In the open transaction: these wait from now on, or wait in a later state.
    pub async fn park(&mut self, sync: &str, link: &str, parked: &[Parked]) -> Result<()> {
        for range in batch::cut(parked, self.bytes_max(), Parked::bytes) {
            let chunk = &parked[range];
            let whole = sql::park(sync, link, chunk);
            let statements: Vec<Sql> = match whole.len() <= self.packet_max {
                true => vec![whole],
                false => chunk.iter().map(|one| self.park_one(sync, link, one)).collect(),
            };
            for statement in statements {
                self.of_ours("park changes", statement).await?;
            }
        }
        Ok(())
    }

    fn park_one(&self, sync: &str, link: &str, parked: &Parked) -> Sql {
        let whole = sql::park(sync, link, std::slice::from_ref(parked));
        if whole.len() <= self.packet_max {
            return whole;
        }
        let without_cells = Parked {
            row_cells: Vec::new(),
            kind: ParkKind::NotWhole,
            reason: format!(
                "{} (the row is larger than max_allowed_packet and not kept: the next change of it where it was written brings it)",
                parked.reason
            ),
            ..parked.clone()
        };
        sql::park(sync, link, &[without_cells])
    }

    /// In the open transaction: these wait no more. Returns how many did.
    pub async fn unpark(&mut self, sync: &str, link: &str, keys: &[ParkedKey]) -> Result<u64> {
        self.of_ours("take up changes that waited", sql::unpark(sync, link, keys))
            .await?;
        Ok(self.conn.affected_rows())
    }

    /// In the open transaction: rows that may stand on the source below what stands here.
    pub async fn note_bumps(&mut self, sync: &str, link: &str, bumps: &[MissedBump]) -> Result<()> {
        for range in batch::cut(bumps, self.bytes_max(), |bump| bump.key_cells.len()) {
            self.of_ours("note missed bumps", sql::note_bumps(sync, link, &bumps[range]))
                .await?;
        }
        Ok(())
    }

    /// In the open transaction: rows that users inserted on the source under other nodes' numbers.
    pub async fn note_strays(&mut self, sync: &str, link: &str, strays: &[(TableId, u64)]) -> Result<()> {
        self.of_ours(
            "note rows under other nodes' numbers",
            sql::note_strays(sync, link, strays),
        )
        .await
    }

    async fn of_ours(&mut self, doing: &str, statement: Sql) -> Result<()> {
        match self.conn.query_drop(statement).await {
            Ok(()) => Ok(()),
            Err(error) => Err(self.failed(doing, error)),
        }
    }
}

pub(in crate::mysql) fn take<T: FromValue>(row: &mut Row, place: usize) -> Option<T> {
    T::from_value_opt(row.take::<Value, _>(place)?).ok()
}

/// `None`: a column is not there, of another type, or means nothing here.
fn parked_row(row: &mut Row) -> Option<(Parked, usize)> {
    let mut stamp = |place| -> Option<Option<Stamp>> {
        let text: Option<String> = take(row, place)?;
        Some(text.and_then(|text| Stamp::parse(&text)))
    };
    let (base, last, local) = (stamp(6)?, stamp(7)?, stamp(8)?);
    let table = TableId::new(take::<String>(row, 0)?, take::<String>(row, 1)?);
    let parked = Parked {
        at: ParkedKey::parse(table, &take::<String>(row, 2)?)?,
        key_json: take(row, 3)?,
        operation: take(row, 4)?,
        is_source: take(row, 5)?,
        base,
        stamp: last,
        local,
        kind: ParkKind::named(&take::<String>(row, 9)?)?,
        reason: take(row, 10)?,
        conflict: take(row, 11)?,
        waits_for: take(row, 12)?,
        source_position: take(row, 13)?,
        source_committed_us: take(row, 14)?,
        key_cells: take(row, 15)?,
        row_cells: take(row, 16)?,
    };
    let bytes: i64 = take(row, 17)?;
    Some((parked, usize::try_from(bytes).unwrap_or_default()))
}
