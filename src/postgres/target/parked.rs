//! Changes that wait, as one PostgreSQL database keeps them: written in the transactions of the link.
//!
//! Owns: the statements on `tidelock.parked`, and on `tidelock.missed_bump` as far as
//! the link that notes writes them. Refuses: deciding what waits (see `flow::apply`). Fails: as the target does.

use super::{BYTES_MAX, Target};
use crate::batch;
use crate::error::{Error, Result};
use crate::model::parked::{MissedBump, ParkKind, Parked, ParkedKey};
use crate::model::schema::TableId;
use crate::model::stamp::Stamp;
use tokio_postgres::Row;
use tokio_postgres::types::ToSql;

const PARK: &str = "INSERT INTO tidelock.parked AS p (sync, link, schema_name, table_name, key_hash, key_json, \
    key_cells, operation, is_source, row_cells, base_stamp, stamp, local_stamp, kind, reason, conflict, waits_for, \
    source_position, source_committed_us) \
    SELECT $1, $2, v.* FROM unnest($3::text[], $4::text[], $5::text[], $6::text[], $7::bytea[], $8::text[], \
    $9::bool[], $10::bytea[], $11::text[], $12::text[], $13::text[], $14::text[], $15::text[], $16::text[], \
    $17::text[], $18::text[], $19::int8[]) AS v \
    ON CONFLICT (sync, link, schema_name, table_name, key_hash) DO UPDATE SET key_json = excluded.key_json, \
    key_cells = excluded.key_cells, operation = excluded.operation, is_source = excluded.is_source, \
    row_cells = excluded.row_cells, base_stamp = excluded.base_stamp, stamp = excluded.stamp, \
    local_stamp = excluded.local_stamp, kind = excluded.kind, reason = excluded.reason, \
    conflict = excluded.conflict, waits_for = excluded.waits_for, source_position = excluded.source_position, \
    source_committed_us = excluded.source_committed_us, changed_at = clock_timestamp()";

const UNPARK: &str = "DELETE FROM tidelock.parked AS p USING unnest($3::text[], $4::text[], $5::text[]) AS v(s, t, h) \
    WHERE p.sync = $1 AND p.link = $2 AND p.schema_name = v.s AND p.table_name = v.t AND p.key_hash = v.h RETURNING 1";

const NOTE: &str = "INSERT INTO tidelock.missed_bump AS m (sync, link, schema_name, table_name, key_hash, key_cells, \
    standing, stamp) SELECT $1, $2, v.* FROM unnest($3::text[], $4::text[], $5::text[], $6::bytea[], $7::text[], \
    $8::text[]) AS v ON CONFLICT (sync, link, schema_name, table_name, key_hash) DO UPDATE SET \
    key_cells = excluded.key_cells, standing = excluded.standing, stamp = excluded.stamp, position = NULL";

const NOTE_STRAYS: &str = "INSERT INTO tidelock.stray_number AS s (sync, link, schema_name, table_name, strays) \
    SELECT $1, $2, v.* FROM unnest($3::text[], $4::text[], $5::int8[]) AS v \
    ON CONFLICT (sync, link, schema_name, table_name) DO UPDATE SET strays = s.strays + excluded.strays, \
    last_at = clock_timestamp()";

const COLUMNS: &str = "schema_name, table_name, key_hash, key_json, operation, is_source, base_stamp, stamp, local_stamp, \
    kind, reason, conflict, waits_for, source_position, source_committed_us";

impl Target {
    /// All that waits for a link, oldest first, without the cells: their sizes beside it.
    pub async fn parked(&mut self, sync: &str, link: &str) -> Result<Vec<(Parked, usize)>> {
        let doing = "read which changes wait";
        let sql = format!(
            "SELECT {COLUMNS}, ''::bytea, ''::bytea, (octet_length(key_cells) + octet_length(row_cells))::int8 \
             FROM tidelock.parked WHERE sync = $1 AND link = $2 ORDER BY number"
        );
        let rows = self.query(doing, &sql, &[&sync, &link]).await?;
        let mut parked = Vec::with_capacity(rows.len());
        for row in &rows {
            let bytes: i64 = row.try_get(17).map_err(|error| self.failed(doing, error))?;
            parked.push((self.parked_row(row)?, usize::try_from(bytes).unwrap_or_default()));
        }
        Ok(parked)
    }

    /// These of them, whole, oldest first.
    pub async fn parked_rows(&mut self, sync: &str, link: &str, keys: &[ParkedKey]) -> Result<Vec<Parked>> {
        let sql = format!(
            "SELECT {COLUMNS}, key_cells, row_cells FROM tidelock.parked \
             WHERE sync = $1 AND link = $2 AND (schema_name::text, table_name::text, key_hash::text) IN \
             (SELECT * FROM unnest($3::text[], $4::text[], $5::text[])) ORDER BY number"
        );
        let (schemas, names, hashes) = names(keys.iter());
        let parameters: [&(dyn ToSql + Sync); 5] = [&sync, &link, &schemas, &names, &hashes];
        let rows = self.query("read changes that wait", &sql, &parameters).await?;
        rows.iter().map(|row| self.parked_row(row)).collect()
    }

    fn parked_row(&self, row: &Row) -> Result<Parked> {
        let doing = "read changes that wait";
        let stamp = |place: usize| -> Result<Option<Stamp>, tokio_postgres::Error> {
            Ok(row.try_get::<_, Option<&str>>(place)?.and_then(Stamp::parse))
        };
        let read = || -> Result<Option<Parked>, tokio_postgres::Error> {
            let table = TableId::new(row.try_get::<_, String>(0)?, row.try_get::<_, String>(1)?);
            let at = ParkedKey::parse(table, row.try_get(2)?);
            let (Some(at), Some(kind)) = (at, ParkKind::named(row.try_get(9)?)) else {
                return Ok(None);
            };
            Ok(Some(Parked {
                at,
                kind,
                key_json: row.try_get(3)?,
                operation: row.try_get(4)?,
                is_source: row.try_get(5)?,
                base: stamp(6)?,
                stamp: stamp(7)?,
                local: stamp(8)?,
                reason: row.try_get(10)?,
                conflict: row.try_get(11)?,
                waits_for: row.try_get(12)?,
                source_position: row.try_get(13)?,
                source_committed_us: row.try_get(14)?,
                key_cells: row.try_get(15)?,
                row_cells: row.try_get(16)?,
            }))
        };
        let parked = read().map_err(|error| self.failed(doing, error))?;
        parked.ok_or_else(|| {
            Error::definite(doing)
                .node(&self.node)
                .why("a row of tidelock.parked is of another version of Tidelock")
        })
    }

    /// In the open transaction: these wait from now on, or wait in a later state.
    pub async fn park(&mut self, sync: &str, link: &str, parked: &[Parked]) -> Result<()> {
        for range in batch::cut(parked, BYTES_MAX, Parked::bytes) {
            let chunk = &parked[range];
            let (schemas, names, hashes) = names(chunk.iter().map(|parked| &parked.at));
            let text = |of: fn(&Parked) -> &str| chunk.iter().map(of).collect::<Vec<&str>>();
            let bytes = |of: fn(&Parked) -> &[u8]| chunk.iter().map(of).collect::<Vec<&[u8]>>();
            let stamp = |of: fn(&Parked) -> Option<Stamp>| {
                let text = |parked| of(parked).map(|stamp| stamp.to_string());
                chunk.iter().map(text).collect::<Vec<Option<String>>>()
            };
            let is_source: Vec<bool> = chunk.iter().map(|parked| parked.is_source).collect();
            let conflicts: Vec<Option<&str>> =
                chunk.iter().map(|parked| parked.conflict.as_deref()).collect();
            let waits_for: Vec<Option<&str>> =
                chunk.iter().map(|parked| parked.waits_for.as_deref()).collect();
            let at: Vec<i64> = chunk.iter().map(|parked| parked.source_committed_us).collect();
            let parameters: [&(dyn ToSql + Sync); 19] = [
                &sync,
                &link,
                &schemas,
                &names,
                &hashes,
                &text(|p| &p.key_json),
                &bytes(|p| &p.key_cells),
                &text(|p| &p.operation),
                &is_source,
                &bytes(|p| &p.row_cells),
                &stamp(|p| p.base),
                &stamp(|p| p.stamp),
                &stamp(|p| p.local),
                &text(|p| p.kind.name()),
                &text(|p| &p.reason),
                &conflicts,
                &waits_for,
                &text(|p| &p.source_position),
                &at,
            ];
            self.query("park changes", PARK, &parameters).await?;
        }
        Ok(())
    }

    /// In the open transaction: these wait no more. Returns how many did.
    pub async fn unpark(&mut self, sync: &str, link: &str, keys: &[ParkedKey]) -> Result<u64> {
        let (schemas, names, hashes) = names(keys.iter());
        let parameters: [&(dyn ToSql + Sync); 5] = [&sync, &link, &schemas, &names, &hashes];
        let gone = self.query("take up changes that waited", UNPARK, &parameters);
        Ok(gone.await?.len() as u64)
    }

    /// In the open transaction: rows that may stand on the source below what stands here.
    pub async fn note_bumps(&mut self, sync: &str, link: &str, bumps: &[MissedBump]) -> Result<()> {
        for range in batch::cut(bumps, BYTES_MAX, |bump| bump.key_cells.len()) {
            let chunk = &bumps[range];
            let (schemas, names, hashes) = names(chunk.iter().map(|bump| &bump.at));
            let cells: Vec<&[u8]> = chunk.iter().map(|bump| &*bump.key_cells).collect();
            let standing: Vec<String> = chunk.iter().map(|bump| bump.standing.to_string()).collect();
            let stamps: Vec<String> = chunk.iter().map(|bump| bump.stamp.to_string()).collect();
            let parameters: [&(dyn ToSql + Sync); 8] = [
                &sync, &link, &schemas, &names, &hashes, &cells, &standing, &stamps,
            ];
            self.query("note missed bumps", NOTE, &parameters).await?;
        }
        Ok(())
    }
}

impl Target {
    /// In the open transaction: rows that users inserted on the source under other nodes' numbers.
    pub async fn note_strays(&mut self, sync: &str, link: &str, strays: &[(TableId, u64)]) -> Result<()> {
        let schemas: Vec<&str> = strays.iter().map(|(table, _)| table.schema.as_str()).collect();
        let names: Vec<&str> = strays.iter().map(|(table, _)| table.name.as_str()).collect();
        let count = |(_, count): &(TableId, u64)| i64::try_from(*count).unwrap_or(i64::MAX);
        let counts: Vec<i64> = strays.iter().map(count).collect();
        let parameters: [&(dyn ToSql + Sync); 5] = [&sync, &link, &schemas, &names, &counts];
        let noted = self.query("note rows under other nodes' numbers", NOTE_STRAYS, &parameters);
        noted.await.map(|_| ())
    }
}

fn names<'a>(keys: impl Iterator<Item = &'a ParkedKey> + Clone) -> (Vec<&'a str>, Vec<&'a str>, Vec<String>) {
    (
        keys.clone().map(|key| key.table.schema.as_str()).collect(),
        keys.clone().map(|key| key.table.name.as_str()).collect(),
        keys.map(ParkedKey::digits).collect(),
    )
}
