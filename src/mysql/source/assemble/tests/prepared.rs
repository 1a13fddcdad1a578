//! XA transactions: what is prepared waits for its decision.

use super::*;

fn xa_rows(assembler: &mut Assembler, number: u64, id: i32, is_one_phase: bool) -> Result<()> {
    send(assembler, kind::GTID, &gtid(number))?;
    send(assembler, kind::QUERY, &query("", "XA START X'6a',X'',1"))?;
    send(assembler, kind::TABLE_MAP, &table_map(true))?;
    send(assembler, kind::WRITE_ROWS_V1, &insert(id))?;
    send(assembler, kind::QUERY, &query("", "XA END X'6a',X'',1"))?;
    send(assembler, kind::XA_PREPARE, &xa_prepare(is_one_phase))
}

fn decide(assembler: &mut Assembler, number: u64, verb: &str) -> Result<()> {
    send(assembler, kind::GTID, &gtid(number))?;
    send(
        assembler,
        kind::QUERY,
        &query("", &format!("XA {verb} X'6A',X'',1")),
    )
}

#[tokio::test]
async fn prepared_rows_wait_for_the_decision_and_their_gtid_stays_out_of_the_position() {
    for is_commit in [true, false] {
        let mut assembler = assembler();
        xa_rows(&mut assembler, 1, 5, false).unwrap();
        replay(&mut assembler).await;
        // Somebody else's transaction in between.
        begin(&mut assembler, 2);
        send(&mut assembler, kind::TABLE_MAP, &table_map(true)).unwrap();
        send(&mut assembler, kind::WRITE_ROWS_V1, &insert(6)).unwrap();
        send(&mut assembler, kind::XID, &[0; 8]).unwrap();
        let Some(Step::Idle { position, .. }) = assembler.step() else {
            panic!("the prepare's own bytes are progress")
        };
        assert_eq!(position.to_string(), "gtid:", "nothing is taken yet");
        let other = part(&mut assembler).end.unwrap();
        assert_eq!(other.to_string(), format!("gtid:{UUID}:2"));
        decide(&mut assembler, 3, if is_commit { "COMMIT" } else { "ROLLBACK" }).unwrap();
        replay(&mut assembler).await;
        let whole = format!("gtid:{UUID}:1-3");
        if is_commit {
            let part = part(&mut assembler);
            assert_eq!(part.changes.len(), 1);
            assert_eq!(part.head.transaction, format!("{UUID}:3"));
            // The name alone would leave out the prepare.
            assert_eq!(part.head.past, part.end);
            assert_eq!(part.end.unwrap().to_string(), whole);
        } else {
            assert!(assembler.step().is_none());
            let Some(Step::Idle { position, .. }) = assembler.idle() else {
                panic!()
            };
            assert_eq!(position.to_string(), whole);
        }
    }
}

#[tokio::test]
async fn one_phase_is_an_ordinary_commit() {
    let mut assembler = assembler();
    xa_rows(&mut assembler, 1, 5, true).unwrap();
    assert!(assembler.step().is_none());
    replay(&mut assembler).await;
    let part = part(&mut assembler);
    assert_eq!(part.changes.len(), 1);
    assert_eq!(part.end.unwrap().to_string(), format!("gtid:{UUID}:1"));
}

#[test]
fn a_decision_on_rows_that_were_never_read_stops_the_link() {
    let mut first = assembler();
    let error = decide(&mut first, 3, "COMMIT").unwrap_err();
    assert_eq!(error.reason_kind(), Reason::PositionLost, "{error}");
    let mut second = assembler();
    decide(&mut second, 3, "ROLLBACK").unwrap();
    assert!(second.has_idle());
}
