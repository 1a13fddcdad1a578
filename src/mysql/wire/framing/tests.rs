//! Hand-made packets through the framing: frames of any cut, checksums, compressed transactions, refusals.

use super::*;

fn event(kind: u8, flags: u16, body: &[u8], is_sealed: bool) -> Vec<u8> {
    let tail = if is_sealed { 4 } else { 0 };
    let mut bytes = 7_u32.to_le_bytes().to_vec();
    bytes.push(kind);
    bytes.extend(1_u32.to_le_bytes());
    bytes.extend(((HEADER_BYTES + body.len() + tail) as u32).to_le_bytes());
    bytes.extend(500_u32.to_le_bytes());
    bytes.extend(flags.to_le_bytes());
    bytes.extend(body);
    if is_sealed {
        bytes.extend(crc32fast::hash(&bytes).to_le_bytes());
    }
    bytes
}

/// As packets of the dump; an event above the frame's size is cut.
fn packets(events: &[Vec<u8>]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for event in events {
        let packet = [&[0][..], event].concat();
        let mut rest = &packet[..];
        loop {
            let (frame, more) = rest.split_at(rest.len().min(FRAME_BYTES_MAX));
            bytes.extend(&(frame.len() as u32).to_le_bytes()[..3]);
            bytes.push(0);
            bytes.extend(frame);
            rest = more;
            if frame.len() < FRAME_BYTES_MAX {
                break;
            }
        }
    }
    bytes
}

/// The format description of a log with or without checksums.
fn format(algorithm: u8) -> Vec<u8> {
    let mut body = vec![4, 0];
    body.extend([b'x'; 50]);
    body.extend([0; 10]);
    body.push(algorithm);
    event(kind::FORMAT_DESCRIPTION, 0, &body, true)
}

fn all(bytes: &[u8], step: usize) -> Result<Vec<Item>> {
    let mut framing = Framing::default();
    let mut items = Vec::new();
    for piece in bytes.chunks(step) {
        framing.input().extend_from_slice(piece);
        while let Some(item) = framing.item()? {
            items.push(item);
        }
    }
    Ok(items)
}

fn bodies(items: &[Item]) -> Vec<(u8, usize)> {
    let told = items.iter().filter_map(|item| match item {
        Item::Event(event) | Item::Inner(event) => Some((event.header.kind, event.body.len())),
        Item::PayloadBegin(_) | Item::PayloadEnd => None,
    });
    told.collect()
}

#[test]
fn frames_of_any_cut_give_the_same_events() {
    let large = vec![9_u8; FRAME_BYTES_MAX + 5];
    // With the byte before it, exactly one full frame: an empty one follows.
    let exact = vec![8_u8; FRAME_BYTES_MAX - 1 - HEADER_BYTES - 4];
    let events = [
        event(kind::ROTATE, 0x20, b"\x04\0\0\0\0\0\0\0b.000001", true),
        format(1),
        event(kind::QUERY, 0, b"BEGIN", true),
        event(kind::WRITE_ROWS, 0, &large, true),
        event(kind::WRITE_ROWS, 0, &exact, true),
        event(kind::XID, 0, &[0; 8], true),
    ];
    let bytes = packets(&events);
    let wanted = [
        (kind::ROTATE, 16),
        (kind::FORMAT_DESCRIPTION, 63),
        (kind::QUERY, 5),
        (kind::WRITE_ROWS, large.len()),
        (kind::WRITE_ROWS, exact.len()),
        (kind::XID, 8),
    ];
    for step in [3_333, 1 << 20, bytes.len()] {
        assert_eq!(bodies(&all(&bytes, step).unwrap()), wanted);
    }
    let small = packets(&[events[1].clone(), events[2].clone()]);
    assert_eq!(bodies(&all(&small, 1).unwrap()), wanted[1..3]);
}

#[test]
fn the_made_up_rotate_tells_by_itself_whether_it_has_a_checksum() {
    let body = b"\x04\0\0\0\0\0\0\0b.000001";
    for is_sealed in [true, false] {
        let items = all(&packets(&[event(kind::ROTATE, 0x20, body, is_sealed)]), 100).unwrap();
        assert_eq!(bodies(&items), [(kind::ROTATE, body.len())]);
    }
}

#[test]
fn checksums_hold_from_each_format_description_on() {
    let off = [
        format(0),
        event(kind::QUERY, 0, b"BEGIN", false),
        format(1),
        event(kind::QUERY, 0, b"BEGIN", true),
    ];
    assert_eq!(all(&packets(&off), 50).unwrap().len(), 4);
    let mut broken = event(kind::QUERY, 0, b"BEGIN", true);
    broken[HEADER_BYTES] ^= 1;
    let error = all(&packets(&[format(1), broken]), 50).unwrap_err();
    assert!(error.to_string().contains("checksum"), "{error}");
    // Not sealed although the log says so.
    assert!(all(&packets(&[format(1), event(kind::QUERY, 0, b"BEGIN", false)]), 50).is_err());
    let mut in_use = format(1);
    in_use[HEADER_BYTES - 2] |= IN_USE;
    assert!(all(&packets(&[in_use]), 50).is_ok());
    assert!(all(&packets(&[format(7)]), 50).is_err());
}

#[test]
fn what_the_server_says_instead_of_an_event_is_an_error() {
    let framed = |packet: &[u8]| [&(packet.len() as u32).to_le_bytes()[..3], &[0], packet].concat();
    let error = all(&framed(b"\xff\xd4\x04#HY000purged"), 50).unwrap_err();
    assert_eq!(error.to_string(), "ERROR 1236 (HY000): purged");
    assert_eq!(all(&framed(&[0xfe, 0, 0, 2, 0]), 50), Err(FramingError::End));
    assert!(all(&framed(&[7, 7]), 50).is_err());
    assert!(all(&framed(&[0, 1, 2]), 50).is_err());
    // The size in the header is not the packet's.
    let mut cut = event(kind::QUERY, 0, b"BEGIN", false);
    cut.pop();
    assert!(all(&packets(&[cut]), 50).is_err());
}

fn compressed(inner: &[u8]) -> Vec<u8> {
    let packed = zstd::encode_all(inner, 3).unwrap();
    let number = |field: u8, value: usize| {
        let mut bytes = vec![field, 9, 254];
        bytes.extend((value as u64).to_le_bytes());
        bytes
    };
    [
        number(2, 0),
        number(3, inner.len()),
        number(1, packed.len()),
        vec![0],
        packed,
    ]
    .concat()
}

#[test]
fn a_compressed_transaction_ends_only_when_its_checksum_was_right() {
    let mut inner = event(kind::QUERY, 0, b"BEGIN", false);
    for number in 0..3_000_u32 {
        inner.extend(event(
            kind::WRITE_ROWS,
            0,
            &number.wrapping_mul(2_654_435_761).to_le_bytes().repeat(300),
            false,
        ));
    }
    inner.extend(event(kind::XID, 0, &[0; 8], false));
    let payload = event(kind::TRANSACTION_PAYLOAD, 0, &compressed(&inner), true);
    let after = event(kind::QUERY, 0, b"next", true);
    let good = packets(&[format(1), payload.clone(), after.clone()]);
    for step in [17, 5_000, good.len()] {
        let items = all(&good, step).unwrap();
        assert_eq!(items.len(), 1 + 1 + 3_002 + 1 + 1);
        assert!(matches!(items[1], Item::PayloadBegin(_)));
        assert_eq!(items[3_004], Item::PayloadEnd);
        assert_eq!(bodies(&items[3_005..]), [(kind::QUERY, 4)]);
    }
    for at in [HEADER_BYTES + 40, payload.len() / 2, payload.len() - 1] {
        let mut broken = payload.clone();
        broken[at] ^= 1;
        let bytes = packets(&[format(1), broken]);
        let mut framing = Framing::default();
        framing.input().extend_from_slice(&bytes);
        let error = loop {
            match framing.item() {
                Ok(Some(item)) => assert_ne!(item, Item::PayloadEnd, "damaged at {at}"),
                Ok(None) => panic!("nothing was said of damage at {at}"),
                Err(error) => break error,
            }
        };
        assert!(error.to_string().contains("compressed transaction"), "{error}");
    }
}

#[test]
fn any_bytes_never_panic() {
    let mut state = 5_u64;
    for _ in 0..3_000 {
        let bytes: Vec<u8> = (0..200)
            .map(|index| {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                // Small frames, most of them of events.
                match index % 40 {
                    0 => 36,
                    1 | 2 | 4 => 0,
                    _ => (state >> 41) as u8,
                }
            })
            .collect();
        let _ = all(&bytes, 64);
    }
}
