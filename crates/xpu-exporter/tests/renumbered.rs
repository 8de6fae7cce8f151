//! Cards whose kernel numbers change while they are sampled: each keeps its key and its labels, and the labels of its
//! info metric follow.

mod no_level_zero;
mod shown;

use std::fs;

use naming::{Label, catalogue as m};
use reading::{Batch, Found, Lost, Prior, Sampler, Session};
use shown::session;

const ADDRESSES: [&str; 2] = ["0000:03:00.0", "0000:07:00.0"];

/// The first two cards: labels, samplers.
fn cards(session: &mut dyn Session) -> Vec<(String, Box<dyn Sampler>)> {
    let found = session.devices(&Prior::default()).expect("listed").into_iter().take(2);
    let open = |Found { key, address, identity, open }: Found| {
        assert_eq!((Some(&key), identity.device.as_str()), (address.as_ref(), key.as_str()));
        (
            format!("{:?} {:?}", identity.labels().collect::<Vec<_>>(), identity.vendor),
            open().expect("opened"),
        )
    };
    found.map(open).collect()
}

/// The kernel's names of the card that a sampler reads.
fn nodes(sampler: &mut dyn Sampler) -> Result<[String; 2], Lost> {
    let mut batch = Batch::default();
    sampler.sample(&mut batch)?;
    let readings = &batch.groups[0].readings;
    assert!(readings.iter().any(|reading| reading.id == m::CLOCK.id), "it is not read");
    let info = readings.iter().find(|reading| reading.id == m::DEVICE_INFO.id).expect("what it is");
    Ok([Label::Card, Label::RenderNode].map(|label| {
        let mut text = String::new();
        info.labels.with_value(label, |value| value.clone_into(&mut text));
        text
    }))
}

#[test]
fn cards_that_change_their_numbers_are_opened_again_under_their_names() {
    let root = tempfile::tempdir().expect("a folder");
    let mut session = session(root.path(), "battlematrix-8");
    let mut before = cards(&mut *session);
    for ((_, sampler), expected) in before.iter_mut().zip([["card1", "renderD128"], ["card2", "renderD129"]])
    {
        assert_eq!(nodes(&mut **sampler), Ok(expected.map(str::to_owned)));
    }
    // The driver was unbound from both and bound again in the other order.
    let [first, second] =
        ADDRESSES.map(|address| root.path().join("bus/pci/devices").join(address).join("drm"));
    for (folder, from, to) in [
        (&first, "card1", "card2"),
        (&second, "card2", "card1"),
        (&first, "renderD128", "renderD129"),
        (&second, "renderD129", "renderD128"),
    ] {
        fs::rename(folder.join(from), folder.join(to)).expect("renamed");
    }
    for (_, sampler) in &mut before {
        assert!(matches!(nodes(&mut **sampler), Err(Lost::Device(_))), "it reads another card's files");
    }
    let mut after = cards(&mut *session);
    for (((was, _), (is, sampler)), expected) in
        before.iter().zip(&mut after).zip([["card2", "renderD129"], ["card1", "renderD128"]])
    {
        assert_eq!(was, is);
        assert_eq!(nodes(&mut **sampler), Ok(expected.map(str::to_owned)));
    }
}
