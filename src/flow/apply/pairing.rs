//! Rows of the target get the keys of the source's rows that they are paired with, before both sides meet.
//!
//! Refuses: saying which those are (see `seed::pair`). A row that has a key by now, and a key that a row or a tombstone
//! has by now, are left as they are. Fails: as the target does.

use super::Applier;
use crate::error::{Error, Reason, Result};
use crate::model::schema::ColumnType;
use crate::model::value::{Row, Value};
use crate::plan::{Key, Shape, Write, WriteOp, Written};

impl Applier {
    /// In the open transaction. `named`: the target's table, its rows named by the other side; `own`: by its own key;
    /// `pairs`: own key, and the other side's. Returns how many rows were paired.
    pub(crate) async fn pair(&mut self, named: &Shape, own: &Shape, pairs: &[(Key, Key)]) -> Result<u64> {
        let [place] = named.table.key[..] else {
            return Err(Error::bug("pair rows by a key of one column").table(&named.table.id));
        };
        let (here, names): (Vec<Key>, Vec<Key>) = pairs.iter().cloned().unzip();
        let held = self.target.read(named, &names).await?;
        let standing = self.target.read(own, &here).await?;
        let mut writes = Vec::with_capacity(pairs.len());
        for ((key, name), (held, standing)) in pairs.iter().zip(held.iter().zip(&standing)) {
            let is_held = held.row.is_some() || held.tombstone.is_some();
            let row = standing.row.as_ref();
            let is_free = row.is_some_and(|row| row.get(place) == Some(&Value::Null));
            if is_held || !is_free {
                continue;
            }
            let mut cells = vec![None; named.table.columns.len()];
            // Where the server would set them to now (ON UPDATE CURRENT_TIMESTAMP), nobody has changed the row.
            for (at, column) in named.table.columns.iter().enumerate() {
                let is_time = matches!(
                    column.ty,
                    ColumnType::Timestamp { .. } | ColumnType::TimestampTz { .. }
                );
                if is_time && !column.generated {
                    cells[at] = row.and_then(|row| row.get(at).cloned());
                }
            }
            cells[place] = name.first().cloned();
            writes.push(Write {
                key: key.clone(),
                op: WriteOp::Update {
                    row: Row(cells.into_boxed_slice()),
                    base: None,
                    here: None,
                },
            });
        }
        let mut paired = 0;
        for written in self.target.write(own, &writes).await? {
            match written {
                Written::Done => paired += 1,
                Written::Lost | Written::UniqueTaken(_) => {}
                Written::Refused(why) => {
                    return Err(Error::definite("write the other side's key into a paired row")
                        .node(&self.spec.target.name)
                        .table(&named.table.id)
                        .why(why)
                        .reason(Reason::Refused));
                }
            }
        }
        Ok(paired)
    }
}
