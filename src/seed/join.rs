//! A node that joins a sync whose other links run: it is filled beside them, and then reads what they read.
//!
//! Owns: which node joins, and the order that loses nothing. The new node N is filled from the seeder S. What another
//! node X writes comes to N over the link X->N, and by no other way: S passes nothing on, unless it is the hub, and then
//! there is no X. So where X->N begins is noted first, then S is waited for until it has applied X's log up to there,
//! and only then the image of S is taken: what X wrote, or deleted, before that is in the image, what it wrote after it is in
//! the log. What is in both is found to be there by its stamp. With the rows come the tombstones and the floor of inserts.
//! Nothing collects tombstones meanwhile (`flow::turn`).
//! Refuses: a node whose tables hold rows, a seed that fills nothing, a seeder that joins itself.
//! Fails: as a first copy does; what was noted lies on the new node, and the next attempt goes on from there.

use super::{Begun, COPY_PENDING, Start, is_copy};
use crate::engine::{self, Node, Target};
use crate::error::{Error, Reason, Result};
use crate::flow::pulse::Live;
use crate::flow::spec::{LinkSpec, NodeSpec, SyncSpec, link_id};
use crate::flow::{self, Applier};
use crate::model::position::Position;
use std::sync::Arc;
use std::time::Duration;
use tokio_util::sync::CancellationToken;
use tracing::info;

/// How often is looked whether the seeder has come far enough.
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// What joins, by places in the sync.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Joining {
    pub node: usize,
    /// Links between the nodes that take part already.
    pub links: Vec<usize>,
}

/// Has somebody a wish of how far a link's checkpoint is to come?
pub type Wish<'a> = &'a (dyn Fn(&str, &Position) + Send + Sync);

/// The first node of the sync into which no link has begun, where links between others have. `None`: none joins, or nothing has begun.
pub async fn joining(sync: &SyncSpec) -> Result<Option<Joining>> {
    // Two nodes begin together.
    if sync.nodes.len() < 3 {
        return Ok(None);
    }
    let mut has_begun = vec![false; sync.links.len()];
    for (place, spec) in sync.nodes.iter().enumerate() {
        let mut target = Target::open_to_read(spec.engine, &spec.access).await?;
        for (index, (source, of)) in sync.links.iter().enumerate() {
            if *of == place {
                let link = link_id(&sync.nodes[*source].name, &spec.name);
                let checkpoint = target.checkpoint(&sync.name, &link).await?;
                has_begun[index] = checkpoint.is_some_and(|checkpoint| checkpoint.seq > COPY_PENDING);
            }
        }
    }
    Ok(found(&sync.links, &has_begun))
}

fn found(links: &[(usize, usize)], has_begun: &[bool]) -> Option<Joining> {
    let joins = |node: usize| {
        let mut into = links
            .iter()
            .zip(has_begun)
            .filter(|((_, target), _)| *target == node);
        let has_links = links.iter().any(|(_, target)| *target == node);
        has_links && into.all(|(_, has_begun)| !has_begun)
    };
    let of_others = |(source, target): &(usize, usize)| !joins(*source) && !joins(*target);
    let standing: Vec<usize> = (0..links.len())
        .filter(|index| of_others(&links[*index]))
        .collect();
    if standing.is_empty() || standing.iter().any(|index| !has_begun[*index]) {
        return None;
    }
    let node = links
        .iter()
        .map(|(_, target)| *target)
        .filter(|node| joins(*node))
        .min()?;
    Some(Joining {
        node,
        links: standing,
    })
}

/// The links of the joining node, as far as their other ends take part already.
struct Links {
    /// The one that fills it.
    copy: Start,
    /// Into it, from all other nodes.
    into: Vec<Start>,
    out: Vec<Start>,
}

/// Fills the node, and brings its links to where they can stream.
pub async fn join(
    sync: &SyncSpec,
    joining: &Joining,
    wish: Wish<'_>,
    stop: &CancellationToken,
    live: &Live,
) -> Result<()> {
    let Links { mut copy, into, out } = links(sync, joining).await?;
    info!(
        event = "node_joins", sync = %sync.name, node = %copy.link.target.name, from = %copy.link.source.name,
        "the node is filled while the other links go on"
    );
    copy.noted = copy.note_of_before().await?;
    if copy.noted.is_none() {
        let ends = copy.ends().await?;
        copy.refuse_rows(&ends, |_| true).await?;
        ways_out(out).await?;
    }
    let mut noted = Vec::with_capacity(into.len());
    for start in into {
        noted.push(noted_at(start).await?);
    }
    for (start, position) in &noted {
        if !applied_by(&copy.link.source, (start, position), wish, stop).await? {
            return Ok(());
        }
    }
    let (spec, pulse) = (Arc::clone(&copy.link), live.of(&copy.link.sync, &copy.link.id));
    copy.copy(stop, &pulse).await?;
    if stop.is_cancelled() {
        return Ok(());
    }
    for (start, position) in noted {
        begin(start, &position).await?;
    }
    flow::raise_numbers(sync, joining.node).await?;
    info!(event = "node_joined", sync = %sync.name, node = %spec.target.name, "the node takes part from now on");
    Ok(())
}

async fn links(sync: &SyncSpec, joining: &Joining) -> Result<Links> {
    let takes_part = |node: usize| {
        let is_end = |index: &usize| sync.links[*index].0 == node || sync.links[*index].1 == node;
        joining.links.iter().any(is_end)
    };
    let (mut copy, mut into, mut out) = (None, Vec::new(), Vec::new());
    for (index, (source, target)) in sync.links.iter().enumerate() {
        let other = match (*source == joining.node, *target == joining.node) {
            (true, false) => *target,
            (false, true) => *source,
            (true, true) | (false, false) => continue,
        };
        if !takes_part(other) {
            continue;
        }
        let link = sync.link(index);
        let writer = Target::open(link.target.engine, &link.target.access, link.is_merge()).await?;
        let mut start = Start::new(Arc::clone(&link), writer);
        match (*target == joining.node, is_copy(sync, &link)) {
            (true, true) => {
                // Other links from its source have told their targets what it deleted.
                start.is_fresh = false;
                start.copies_tombstones = link.is_merge();
                copy = Some(start);
            }
            (true, false) => {
                start.is_fresh = false;
                into.push(start);
            }
            (false, _) => out.push(start),
        }
    }
    let copy = copy.ok_or_else(|| unfilled(sync, joining.node))?;
    Ok(Links { copy, into, out })
}

fn unfilled(sync: &SyncSpec, node: usize) -> Error {
    let standing = match sync.hub {
        Some(hub) => &sync.nodes[hub].name,
        None => &sync.nodes[usize::from(node == 0)].name,
    };
    let name = &sync.nodes[node].name;
    Error::definite(format!("let node {name} into sync {}", sync.name))
        .node(name)
        .why("a node that joins is filled from one that takes part, and seed names none of them")
        .hint(format!(
            "empty the tables of {name} and write seed = \"from:{standing}\": for the nodes that take part it changes nothing"
        ))
        .reason(Reason::Refused)
}

/// What users of the new node write while it is filled is in its log already. What they wrote before goes to nobody:
/// its tables were empty.
async fn ways_out(out: Vec<Start>) -> Result<()> {
    let mut begun: Vec<Begun> = Vec::with_capacity(out.len());
    for mut start in out {
        let (sync, link) = (&start.link.sync, &start.link.id);
        begun.push(match start.target.checkpoint(sync, link).await? {
            Some(_) => start.anew().await?,
            None => start.begun().await?,
        });
    }
    super::checkpoints(begun).await
}

/// Where a link into the new node begins: it lies on that node from now on, and the source keeps its log from there.
async fn noted_at(mut start: Start) -> Result<(Start, Position)> {
    let (sync, link) = (start.link.sync.clone(), start.link.id.clone());
    if let Some(checkpoint) = start.target.checkpoint(&sync, &link).await? {
        let source = &start.link.source;
        let mut source = Node::connect(&source.access, source.engine).await?;
        flow::same_server(&start.link, &checkpoint, &source.server().await?.identity)?;
        return Ok((start, checkpoint.position));
    }
    let mut start = start.begun().await?.pending().await?;
    let checkpoint = start.target.checkpoint(&sync, &link).await?;
    let checkpoint = checkpoint.ok_or_else(|| Error::bug("read back a checkpoint that was just made"))?;
    Ok((start, checkpoint.position))
}

/// Waits until the seeder has applied the source of a link up to where that link begins. `false`: told to stop.
async fn applied_by(
    seeder: &NodeSpec,
    (start, position): (&Start, &Position),
    wish: Wish<'_>,
    stop: &CancellationToken,
) -> Result<bool> {
    let (sync, source) = (&start.link.sync, &start.link.source.name);
    let link = link_id(source, &seeder.name);
    let mut node = Node::connect(&seeder.access, seeder.engine).await?;
    let mut has_said = false;
    loop {
        let reach = node.reach(sync).await?;
        let at = reach.links.iter().find(|(known, _)| *known == link);
        let at = at.map(|(_, at)| at.covers(position)).transpose();
        let is_there = at.map_err(|error| Error::bug("compare positions").because(error))?;
        if is_there == Some(true) {
            node.close().await;
            return Ok(true);
        }
        if !has_said {
            info!(link = %start.link.id, %position, "waiting until {} has applied the log of {source} up to here", seeder.name);
            has_said = true;
        }
        wish(&link, position);
        tokio::select! {
            () = stop.cancelled() => return Ok(false),
            () = tokio::time::sleep(LOOK_EVERY) => {}
        }
    }
}

/// The image is on the new node: the link may stream. Until its source's log as it ends now what is read may be there.
pub(super) async fn begin(mut start: Start, position: &Position) -> Result<()> {
    let link: Arc<LinkSpec> = Arc::clone(&start.link);
    let taken = start
        .target
        .take_over(&link.sync, &link.id, &link.instance)
        .await?;
    let Some(pending) = taken.filter(|checkpoint| checkpoint.seq == COPY_PENDING) else {
        return Ok(());
    };
    let settle = engine::settle_position(link.source.engine, &link.source.access).await?;
    let mut applier = Applier::new(start.target, Arc::clone(&link), pending);
    applier.begin(position).await?;
    applier.copied_all(Some(settle)).await?;
    applier.commit().await?;
    info!(link = %link.id, %position, "link starts beside the copy");
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Links by the names of their ends; those that have begun in capitals.
    fn joins(links: &[&str]) -> Option<(usize, Vec<usize>)> {
        let place = |name: char| name.to_ascii_lowercase() as usize - 'a' as usize;
        let ends = |link: &&str| {
            let mut names = link.chars().map(place);
            (names.next().unwrap_or_default(), names.next().unwrap_or_default())
        };
        let ends: Vec<(usize, usize)> = links.iter().map(ends).collect();
        let begun: Vec<bool> = links
            .iter()
            .map(|link| link.chars().all(char::is_uppercase))
            .collect();
        found(&ends, &begun).map(|found| (found.node, found.links))
    }

    #[test]
    fn a_node_joins_where_links_of_others_run() {
        // A pair, new and standing; a spoke that joins, its way back begun or not.
        assert_eq!(joins(&["ab", "ba"]), None);
        assert_eq!(joins(&["AB", "BA"]), None);
        assert_eq!(joins(&["AB", "BA", "ac", "ca"]), Some((2, vec![0, 1])));
        assert_eq!(joins(&["AB", "BA", "ac", "CA"]), Some((2, vec![0, 1])));
        // The first start of a hub that broke off.
        assert_eq!(joins(&["ab", "BA", "ac", "CA"]), None);
        // A mesh; of two that join the first comes first.
        assert_eq!(
            joins(&[
                "AB", "BA", "ac", "ca", "bc", "cb", "ad", "da", "bd", "db", "cd", "dc"
            ]),
            Some((2, vec![0, 1]))
        );
        // One way: the source is written by nobody.
        assert_eq!(joins(&["AB", "ac"]), Some((2, vec![0])));
        assert_eq!(joins(&["ab", "ac"]), None);
        // A link between two that take part is missing: no node joins by that.
        assert_eq!(joins(&["AB", "BA", "AC", "CA", "bc", "cb"]), None);
    }
}
