//! Records that must wait for their fate: in memory up to a bound, the rest in a temporary file.
//!
//! A source holds here what it received of a transaction that is not decided yet: rows that PostgreSQL streams before
//! COMMIT, rows of a prepared transaction, and on MariaDB of any, because a crash may have cut its log. A record is the
//! bytes of one log message, with a tag (PostgreSQL's subtransaction) by which it can be struck out later.
//!
//! Owns: [`Space`], the bounds that all spills of the process share; [`Spill`], one transaction's records, append-only;
//! [`Reader`], the same records once more, in order, a bounded piece at a time. The oldest records go to the file
//! first, so a transaction that is little above the bound costs little disk. The file has no name (it is unlinked as
//! it is made, mode 0600) and is gone when its owner is dropped, however the process ends.
//! Refuses: knowing what a record means; encryption (name an encrypted folder); lasting over a restart: after one the
//! server sends everything again.
//! Fails: `Definite` when the disk is full, the cap is reached or the folder is of no use, with what to do.
//! Every method may be dropped at any await: nothing is lost or written twice.

use crate::error::{Error, Result};
use bytes::Bytes;
use foldhash::HashSet;
use std::collections::VecDeque;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use tokio::task::JoinHandle;

/// Records of all spills together that stay in memory, as far as whole pieces can be written out.
const MEMORY_BYTES_MAX: usize = 8 << 20;
/// Written and read at once. Large enough that handing it to a thread costs nothing, small enough to hold one per
/// open spill.
const PIECE_BYTES: usize = 256 << 10;
/// Tag and length before each record.
const HEAD_BYTES: usize = 8;

/// Where spills go and how much they may take; clones share one account.
#[derive(Debug, Clone)]
pub struct Space(Arc<Account>);

#[derive(Debug)]
struct Account {
    folder: PathBuf,
    memory_bytes_max: usize,
    file_bytes_max: Option<u64>,
    memory_bytes: AtomicUsize,
    file_bytes: AtomicU64,
}

impl Default for Space {
    fn default() -> Self {
        Space::new(std::env::temp_dir(), None)
    }
}

impl Space {
    /// `file_bytes_max` caps what all spills of the process take of the disk; `None` = the disk does.
    pub fn new(folder: PathBuf, file_bytes_max: Option<u64>) -> Self {
        Self::bounded(folder, MEMORY_BYTES_MAX, file_bytes_max)
    }

    fn bounded(folder: PathBuf, memory_bytes_max: usize, file_bytes_max: Option<u64>) -> Self {
        Space(Arc::new(Account {
            folder,
            memory_bytes_max,
            file_bytes_max,
            memory_bytes: AtomicUsize::new(0),
            file_bytes: AtomicU64::new(0),
        }))
    }

    pub fn folder(&self) -> &Path {
        &self.0.folder
    }

    /// What all spills hold now, in memory and in files.
    pub fn used(&self) -> (usize, u64) {
        (
            self.0.memory_bytes.load(Ordering::Relaxed),
            self.0.file_bytes.load(Ordering::Relaxed),
        )
    }

    fn is_over(&self) -> bool {
        self.used().0 > self.0.memory_bytes_max
    }

    fn failed(&self, doing: &str, error: io::Error) -> Error {
        let folder = self.0.folder.display();
        let hint = match error.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::FileTooLarge => {
                format!(
                    "make room in {folder} for the largest transactions of the source, or name another folder with \
                     limits.spill_dir"
                )
            }
            _ => format!("{folder} must exist and be writable; name another folder with limits.spill_dir"),
        };
        Error::definite(format!("{doing} {folder}"))
            .because(error)
            .hint(hint)
    }

    /// Books file space, or says that the cap is reached.
    fn book(&self, bytes: u64) -> Result<()> {
        let booked = self.0.file_bytes.fetch_add(bytes, Ordering::Relaxed) + bytes;
        let Some(max) = self.0.file_bytes_max.filter(|max| booked > *max) else {
            return Ok(());
        };
        self.0.file_bytes.fetch_sub(bytes, Ordering::Relaxed);
        Err(Error::definite(format!(
            "spill a large transaction to {}",
            self.0.folder.display()
        ))
        .why(format!("it would take more than limits.spill_bytes_max = {max}"))
        .hint("raise limits.spill_bytes_max above the largest transactions of the source"))
    }
}

/// Memory that is given back to the account when it is dropped.
#[derive(Debug)]
struct Piece {
    bytes: Vec<u8>,
    space: Space,
}

impl Piece {
    fn new(space: &Space) -> Self {
        Piece {
            bytes: Vec::new(),
            space: space.clone(),
        }
    }

    fn push(&mut self, tag: u32, record: &[u8]) {
        let before = self.bytes.len();
        let length = u32::try_from(record.len()).unwrap_or(u32::MAX);
        self.bytes.extend_from_slice(&tag.to_le_bytes());
        self.bytes.extend_from_slice(&length.to_le_bytes());
        self.bytes.extend_from_slice(record);
        let grown = self.bytes.len() - before;
        self.space.0.memory_bytes.fetch_add(grown, Ordering::Relaxed);
    }
}

impl AsRef<[u8]> for Piece {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

impl Drop for Piece {
    fn drop(&mut self) {
        let bytes = self.bytes.len();
        self.space.0.memory_bytes.fetch_sub(bytes, Ordering::Relaxed);
    }
}

/// The nameless file and what of it is booked.
#[derive(Debug)]
struct Store {
    file: File,
    bytes: AtomicU64,
    space: Space,
}

impl Drop for Store {
    fn drop(&mut self) {
        let bytes = self.bytes.load(Ordering::Relaxed);
        self.space.0.file_bytes.fetch_sub(bytes, Ordering::Relaxed);
    }
}

/// One transaction's records.
#[derive(Debug)]
pub struct Spill {
    space: Space,
    /// The oldest records; `None` as long as memory holds all.
    store: Option<Arc<Store>>,
    /// A piece on its way to the file.
    writing: Option<JoinHandle<Result<Arc<Store>>>>,
    /// Pieces behind the file's end, oldest first.
    pieces: VecDeque<Piece>,
    open: Piece,
    /// Tags whose records do not count.
    struck: HashSet<u32>,
}

impl Spill {
    pub fn new(space: &Space) -> Self {
        Spill {
            space: space.clone(),
            store: None,
            writing: None,
            pieces: VecDeque::new(),
            open: Piece::new(space),
            struck: HashSet::default(),
        }
    }

    /// Appends a record. Keeps it in memory whatever the bounds say: await [`Spill::settle`] before the next.
    /// A record is at most 4 GiB; no log has larger ones.
    pub fn push(&mut self, tag: u32, record: &[u8]) {
        if !self.open.bytes.is_empty() && self.open.bytes.len() + HEAD_BYTES + record.len() > PIECE_BYTES {
            let full = std::mem::replace(&mut self.open, Piece::new(&self.space));
            self.pieces.push_back(full);
        }
        self.open.push(tag, record);
    }

    /// Strikes out all records of a tag.
    pub fn strike(&mut self, tag: u32) {
        self.struck.insert(tag);
    }

    /// Writes pieces out while all spills together hold more than the bound.
    pub async fn settle(&mut self) -> Result<()> {
        while self.writing.is_some() || (self.space.is_over() && self.write()?) {
            self.written().await?;
        }
        Ok(())
    }

    /// Starts writing the oldest piece; `false`: there is none.
    fn write(&mut self) -> Result<bool> {
        let Some(piece) = self.pieces.pop_front() else {
            return Ok(false);
        };
        let bytes = piece.bytes.len() as u64;
        self.space.book(bytes)?;
        let (store, space) = (self.store.take(), self.space.clone());
        self.writing = Some(tokio::task::spawn_blocking(move || {
            append(store, space, &piece, bytes)
        }));
        Ok(true)
    }

    async fn written(&mut self) -> Result<()> {
        let Some(writing) = &mut self.writing else {
            return Ok(());
        };
        let outcome = writing.await;
        self.writing = None;
        let outcome = outcome.map_err(|error| Error::bug("spill a large transaction").because(error))?;
        self.store = Some(outcome?);
        Ok(())
    }

    /// All records that were not struck, from the first on. Nothing more can be pushed.
    pub fn into_reader(mut self) -> Reader {
        self.pieces.push_back(self.open);
        Reader {
            space: self.space,
            store: self.store,
            writing: self.writing,
            at: 0,
            reading: None,
            pieces: self.pieces,
            piece: Bytes::new(),
            struck: self.struck,
        }
    }
}

/// Appends to the file, which is made with its first piece. What is booked belongs to the file from here on.
fn append(store: Option<Arc<Store>>, space: Space, piece: &Piece, bytes: u64) -> Result<Arc<Store>> {
    const DOING: &str = "spill a large transaction to";
    let store = match store {
        Some(store) => store,
        None => match tempfile::tempfile_in(space.folder()) {
            Ok(file) => Arc::new(Store {
                file,
                bytes: AtomicU64::new(0),
                space: space.clone(),
            }),
            Err(error) => {
                space.0.file_bytes.fetch_sub(bytes, Ordering::Relaxed);
                return Err(space.failed(DOING, error));
            }
        },
    };
    let at = store.bytes.fetch_add(bytes, Ordering::Relaxed);
    store
        .file
        .write_all_at(&piece.bytes, at)
        .map_err(|error| space.failed(DOING, error))?;
    Ok(store)
}

/// A spill's records, in order. Holds one piece of the file at a time, or one record that is larger.
#[derive(Debug)]
pub struct Reader {
    space: Space,
    store: Option<Arc<Store>>,
    writing: Option<JoinHandle<Result<Arc<Store>>>>,
    /// How far the file was read.
    at: u64,
    reading: Option<JoinHandle<io::Result<Vec<u8>>>>,
    pieces: VecDeque<Piece>,
    /// What is being read; begins with a record's head.
    piece: Bytes,
    struck: HashSet<u32>,
}

impl Reader {
    /// The next record; `None` = that was the last. The bytes share memory with their whole piece: copy what is kept.
    pub async fn next(&mut self) -> Result<Option<(u32, Bytes)>> {
        loop {
            while let Some((tag, record)) = take(&mut self.piece) {
                if !self.struck.contains(&tag) {
                    return Ok(Some((tag, record)));
                }
            }
            if !self.refill().await? {
                return Ok(None);
            }
        }
    }

    /// The next piece: of the file, then of memory. It may be empty, between the two; `false`: that was all.
    async fn refill(&mut self) -> Result<bool> {
        const DOING: &str = "read back a large transaction from";
        if let Some(writing) = &mut self.writing {
            let outcome = writing.await;
            self.writing = None;
            self.store = Some(outcome.map_err(|error| Error::bug(DOING).because(error))??);
        }
        let Some(store) = &self.store else {
            let Some(piece) = self.pieces.pop_front() else {
                return Ok(false);
            };
            self.piece = Bytes::from_owner(piece);
            return Ok(true);
        };
        if self.reading.is_none() {
            // A record that ends behind the piece is read again, whole.
            let rest = self.piece.len() as u64;
            self.at -= rest;
            let wanted = PIECE_BYTES.max(record_bytes(&self.piece).unwrap_or(0));
            self.piece = Bytes::new();
            let left = store.bytes.load(Ordering::Relaxed) - self.at;
            if left == 0 {
                self.store = None;
                return Ok(true);
            }
            let (store, at) = (Arc::clone(store), self.at);
            let wanted = wanted.min(usize::try_from(left).unwrap_or(usize::MAX));
            self.reading = Some(tokio::task::spawn_blocking(move || {
                let mut bytes = vec![0; wanted];
                store.file.read_exact_at(&mut bytes, at).map(|()| bytes)
            }));
        }
        if let Some(reading) = &mut self.reading {
            let outcome = reading.await;
            self.reading = None;
            let bytes = outcome.map_err(|error| Error::bug(DOING).because(error))?;
            let bytes = bytes.map_err(|error| self.space.failed(DOING, error))?;
            self.at += bytes.len() as u64;
            self.piece = Bytes::from(bytes);
        }
        Ok(true)
    }
}

/// Length of the record at the front, with its head.
fn record_bytes(piece: &[u8]) -> Option<usize> {
    let length = piece.get(4..HEAD_BYTES)?.try_into().ok()?;
    Some(HEAD_BYTES + u32::from_le_bytes(length) as usize)
}

/// The record at the front, if all of it is there.
fn take(piece: &mut Bytes) -> Option<(u32, Bytes)> {
    let length = record_bytes(piece).filter(|length| *length <= piece.len())?;
    let mut record = piece.split_to(length);
    let head = record.split_to(HEAD_BYTES);
    let tag = head.first_chunk().map(|tag| u32::from_le_bytes(*tag))?;
    Some((tag, record))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use proptest::prelude::*;
    use std::time::Duration;

    fn space(memory_bytes_max: usize, file_bytes_max: Option<u64>) -> Space {
        Space::bounded(std::env::temp_dir(), memory_bytes_max, file_bytes_max)
    }

    async fn all(mut reader: Reader) -> Vec<(u32, Vec<u8>)> {
        let mut found = Vec::new();
        while let Some((tag, record)) = reader.next().await.unwrap() {
            found.push((tag, record.to_vec()));
        }
        found
    }

    fn block_on<T>(future: impl Future<Output = T>) -> T {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        runtime.unwrap().block_on(future)
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        /// Two transactions at once, records of any size up to some pieces, any tags struck, any bound.
        #[test]
        fn what_was_not_struck_comes_back_in_order(
            records in prop::collection::vec((0_usize..2, 0_u32..6, 0_usize..9, any::<u8>()), 0..80),
            struck in prop::collection::vec((0_usize..2, 0_u32..6), 0..5),
            bound in prop::sample::select(vec![0, PIECE_BYTES, 4 * PIECE_BYTES, usize::MAX]),
            hurry: bool,
        ) {
            let sizes = [0, 1, 7, 200, 5_000, PIECE_BYTES / 3, PIECE_BYTES - HEAD_BYTES, PIECE_BYTES, 3 * PIECE_BYTES];
            let space = space(bound, None);
            block_on(async {
                let mut spills = [Spill::new(&space), Spill::new(&space)];
                let mut model = [Vec::new(), Vec::new()];
                for (which, tag, size, byte) in records {
                    let record = vec![byte; sizes[size]];
                    // `settle` dropped halfway must neither lose a piece nor write it twice.
                    let outcome = tokio::time::timeout(
                        if hurry { Duration::ZERO } else { Duration::MAX },
                        spills[which].settle(),
                    );
                    if let Ok(outcome) = outcome.await {
                        outcome.unwrap();
                    }
                    spills[which].push(tag, &record);
                    model[which].push((tag, record));
                }
                for (which, tag) in struck {
                    spills[which].strike(tag);
                    model[which].retain(|(found, _)| *found != tag);
                }
                for (spill, model) in spills.into_iter().zip(model) {
                    assert!(all(spill.into_reader()).await == model);
                }
            });
            prop_assert_eq!(space.used(), (0, 0));
        }
    }

    #[tokio::test]
    async fn memory_stays_within_the_bound_and_everything_is_given_back() {
        let space = space(2 * PIECE_BYTES, None);
        let mut spill = Spill::new(&space);
        for number in 0..20_000_u32 {
            spill.settle().await.unwrap();
            spill.push(number, &[7; 500]);
            let (memory, _) = space.used();
            assert!(memory <= 3 * PIECE_BYTES, "{memory} bytes");
        }
        let (_, file) = space.used();
        assert!(file > 9_000_000, "{file} bytes in the file");
        let mut reader = spill.into_reader();
        reader.next().await.unwrap().unwrap();
        drop(reader);
        assert_eq!(space.used(), (0, 0));
    }

    #[tokio::test]
    async fn the_cap_and_a_useless_folder_say_what_to_do() {
        let fill = async |space: &Space| {
            let mut spill = Spill::new(space);
            for _ in 0..8 {
                spill.push(1, &[0; PIECE_BYTES]);
                spill.settle().await?;
            }
            Ok(())
        };
        let error: Error = fill(&space(0, Some(3 * PIECE_BYTES as u64))).await.unwrap_err();
        assert!(
            error.to_string().contains("limits.spill_bytes_max = 786432"),
            "{error}"
        );
        let nowhere = Space::bounded(PathBuf::from("/nonexistent"), 0, None);
        let error = fill(&nowhere).await.unwrap_err();
        assert!(error.hint_text().unwrap().contains("limits.spill_dir"), "{error}");
        assert_eq!(nowhere.used(), (0, 0));
    }

    #[tokio::test]
    async fn the_file_has_no_name() {
        let folder = tempfile::tempdir().unwrap();
        let space = Space::bounded(folder.path().to_owned(), 0, None);
        let mut spill = Spill::new(&space);
        for _ in 0..4 {
            spill.push(1, &[0; PIECE_BYTES]);
            spill.settle().await.unwrap();
        }
        assert!(space.used().1 > 0);
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
    }
}
