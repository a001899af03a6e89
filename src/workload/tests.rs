use super::*;
use crate::message::{Layout, Lengths};
use proptest::prelude::*;

fn mix(text: &str) -> Workload {
    Workload::mix(text, Fields::Even).unwrap()
}

fn line(size: usize, connection: u32) -> TraceLine {
    TraceLine { message: MessageClass { size, fields: Fields::Single }, connection }
}

/// How often each class occurs.
fn counted(deck: &[u32], classes: usize) -> Vec<u32> {
    let mut counts = vec![0; classes];
    deck.iter().for_each(|class| counts[*class as usize] += 1);
    counts
}

#[test]
fn a_deck_holds_each_class_in_its_share() {
    let workload = mix("512B:60%, 16KiB/single:30% ,1MiB/64+1048512:10%");
    assert_eq!((workload.counts(), workload.messages()), (vec![6, 3, 1], 10));
    assert_eq!(workload.bytes(), 6 * 512 + 3 * 16_384 + (1 << 20));
    let lengths = Lengths::new(&[64, 1_048_512]).unwrap();
    assert_eq!(
        workload.classes().iter().map(|class| class.fields).collect::<Vec<_>>(),
        [Fields::Even, Fields::Single, Fields::Exact(lengths)]
    );
    let shares: Vec<_> = workload.groups().iter().map(|group| (group.bytes * 1000.0).round()).collect();
    assert_eq!(shares, [3.0, 45.0, 953.0]);
    assert_eq!(workload.id(), "mix-512B-60-16KiB-single-30-1MiB-64-1048512-10");
    assert_eq!(mix("1KiB:3,4KiB:1").counts(), [3, 1]);
    assert_eq!(mix("1KiB:0.125%,4KiB:99.875%").counts(), [1, 799]);
    // The same message twice is one class.
    assert_eq!(mix("1KiB:10%,1024:20%,4KiB:70%").counts(), [3, 7]);
}

#[test]
fn a_bad_mix_has_a_sentence() {
    for (text, part) in [
        ("", "not a part of a mix"),
        ("512B", "not a part of a mix"),
        ("zebra", "kv, "),
        ("512B:60%,16KiB:30%", "add up to 90%"),
        ("512B:60%,16KiB:50%", "add up to 110%"),
        ("512B:60%,16KiB:4", "either all shares are percentages"),
        ("512B:0%,16KiB:100%", "'0%' is not a share"),
        ("512B:-1%,16KiB:101%", "'-1%' is not a share"),
        ("512B:1.2345%,16KiB:98.7655%", "'1.2345%' is not a share"),
        ("512B:.%,16KiB:100%", "not a share"),
        ("512B:NaN%", "not a share"),
        ("512B:99999999999999999999", "not a share"),
        ("4B:100%", "8 bytes"),
        ("2GiB:100%", "1 GiB"),
        ("16KB:100%", "binary unit"),
        ("512B/odd:100%", "not a part of a mix"),
        ("512B/64+64:100%", "add up to 128 bytes"),
        ("512B:60%;16KiB:40%", "not a"),
        ("1MiB:99.999%,2MiB:0.001%", "use coarser shares"),
    ] {
        let error = Workload::mix(text, Fields::Even).map(|workload| workload.counts()).unwrap_err();
        assert!(error.to_string().contains(part), "{text}: {error}");
    }
}

#[test]
fn every_published_mix_can_be_played() {
    for known in published::ALL {
        let workload = mix(known.name);
        assert_eq!((workload.name(), workload.messages()), (known.name, 100), "{}", known.name);
        assert!(
            workload.groups().len() <= GROUP_ENDS.len() && workload.id().starts_with("mix-"),
            "{}",
            known.name
        );
        let shares: f64 = workload.groups().iter().map(|group| group.bytes).sum();
        assert!((shares - 1.0).abs() < 1e-9, "{}", known.name);
    }
}

#[test]
fn the_clients_of_a_trace_play_the_same_from_different_places() {
    let trace = Workload::trace("t", [8, 16, 24, 16].map(|size| line(size, 0)), false).unwrap();
    assert_eq!(trace.deck(1, 0, 2), [0, 1, 2, 1]);
    assert_eq!(trace.deck(1, 1, 2), [2, 1, 0, 1]);
    assert_eq!((trace.bytes(), trace.mean_size(), trace.id()), (64, 16, "trace-t".to_owned()));
}

#[test]
fn connections_of_a_trace_are_divided_among_the_clients() {
    let lines = [(8, 0), (16, 1), (24, 2), (32, 0)].map(|(size, connection)| line(size, connection));
    let trace = Workload::trace("t", lines, true).unwrap();
    assert_eq!([trace.deck(1, 0, 2), trace.deck(1, 1, 2)], [vec![0, 2, 3], vec![1]]);
    let of_five: Vec<_> = (0..5).map(|client| trace.deck(1, client, 5)).collect();
    assert_eq!(of_five[..3], [vec![0, 3], vec![1], vec![2]]);
    assert_eq!(of_five[3..], of_five[..2]);
    assert_eq!(Workload::trace("t", [], false).unwrap_err(), BadWorkload::Empty);
    assert_eq!(Workload::trace("t", [line(4, 0)], false).unwrap_err(), BadWorkload::Size(4));
}

#[test]
fn a_stretch_is_short_and_has_every_connection() {
    let long = |connections: u32| {
        let lines = (0..100_000u32).map(|i| line(8 + (i as usize % 7) * 1000, i % connections));
        Workload::trace("long", lines, true).unwrap()
    };
    for connections in [1, 3, 1000, 5000] {
        let trace = long(connections);
        let stretch = trace.stretch(7);
        assert_eq!(stretch, trace.stretch(7));
        assert!(stretch.messages() <= 4096, "{connections}: {}", stretch.messages());
        let Order::Trace { connections: Some(played), .. } = &stretch.order else { panic!("no connections") };
        assert!(are_numbered(played), "{connections}");
        assert_eq!(played.iter().max().map(|last| last + 1), Some(connections.min(1024)));
    }
    let large = Workload::trace("large", (0..1000).map(|_| line(1 << 20, 0)), false).unwrap();
    assert_eq!(large.stretch(3).messages(), 64);
    let one = Workload::trace("one", [line(1 << 30, 0)], false).unwrap();
    assert_eq!(one.stretch(3), one);
    assert_ne!(long(1).stretch(1), long(1).stretch(2));
}

#[test]
fn what_another_host_sends_is_checked() {
    let good = serde_json::to_value(mix("512B:60%,16KiB:40%")).unwrap();
    assert_eq!(serde_json::from_value::<Workload>(good.clone()).unwrap(), mix("512B:60%,16KiB:40%"));
    let trace = Workload::trace("t", [8, 16].map(|size| line(size, 0)), true).unwrap();
    let good_trace = serde_json::to_value(&trace).unwrap();
    assert_eq!(serde_json::from_value::<Workload>(good_trace.clone()).unwrap(), trace);
    for (whole, key, value) in [
        (&good, "counts", serde_json::json!([3])),
        (&good, "counts", serde_json::json!([0, 0])),
        (&good, "counts", serde_json::json!([4_000_000_000u32, 1])),
        (&good, "messages", serde_json::json!([0])),
        (&good, "classes", serde_json::json!([[4, "even"], [8, "even"]])),
        (&good, "classes", serde_json::json!([[512, "64,64"], [8, "even"]])),
        (&good_trace, "messages", serde_json::json!([0, 2])),
        (&good_trace, "messages", serde_json::json!([])),
        (&good_trace, "connections", serde_json::json!([0, 2])),
        (&good_trace, "connections", serde_json::json!([0])),
    ] {
        let mut bad = whole.clone();
        bad[key] = value;
        assert!(serde_json::from_value::<Workload>(bad.clone()).is_err(), "{bad}");
    }
}

#[test]
fn the_objects_fill_the_footprint() {
    let workload = mix("512B:60%,16KiB:30%,1MiB:10%");
    let base = |footprint| Spec { footprint, ..Spec::new(64).unwrap() };
    assert_eq!(workload.objects(&base(Footprint::Hot)), [1, 1, 1]);
    let cold = base(Footprint::Cold);
    let bytes: usize =
        workload.objects(&cold).iter().zip(workload.classes()).map(|(count, class)| count * class.size).sum();
    let wanted = Footprint::Cold.bytes() as f64;
    assert!((bytes as f64 / wanted - 1.0).abs() < 0.02, "{bytes} of {wanted}");
    assert!(workload.pool_bytes(&cold) >= bytes);
    let ring = Spec { buffers: Buffers::Ring(5), ..base(Footprint::Hot) };
    assert_eq!(workload.objects(&ring), [5, 5, 5]);
    assert!(!workload.shares_one_buffer(&ring) && workload.shares_one_buffer(&base(Footprint::Hot)));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn any_deck_is_shuffled_and_complete(
        shares in proptest::collection::vec(1u32..50, 1..20), seed: u64, client in 0usize..9,
    ) {
        let parts: Vec<_> = shares.iter().enumerate().map(|(i, share)| format!("{}:{share}", 8 * (i + 1))).collect();
        let workload = mix(&parts.join(","));
        let deck = workload.deck(seed, client, 9);
        prop_assert_eq!(counted(&deck, shares.len()), workload.counts());
        prop_assert_eq!(&deck, &workload.deck(seed, client, 9));
        let mut played = Deck::new(&std::sync::Arc::new(workload.clone()), seed, client, 9);
        let (ahead, rest) = (played.messages() / 2, played.messages() - played.messages() / 2);
        let bytes = played.next_bytes(ahead) + played.next_bytes(rest);
        prop_assert_eq!(bytes, workload.bytes());
        prop_assert_eq!(played.next_bytes(3 * played.messages()), 3 * workload.bytes());
    }

    #[test]
    fn any_text_is_a_mix_or_refused(text in "[0-9a-zA-Z:,%/+. -]{0,40}") {
        if let Ok(workload) = Workload::mix(&text, Fields::Even) {
            prop_assert!(workload.messages() > 0 && workload.bytes() <= MOST_DECK_BYTES);
        }
    }

    #[test]
    fn prefixes_have_the_content_that_a_receiver_expects(
        sizes in proptest::collection::vec(8usize..20_000, 1..6), layout in 0usize..Layout::ALL.len(), start in 0u16..4096,
    ) {
        let base = Spec { layout: Layout::ALL[layout], start: crate::offset::BufferStart::At(start), ..Spec::new(64).unwrap() };
        let specs: Vec<_> = (0..).zip(&sizes).map(|(i, size)| {
            Spec { size: *size, fields: Fields::ALL[i % Fields::ALL.len()], ..base }
        }).collect();
        let messages = crate::message::Message::prefixes(&specs).unwrap();
        prop_assert_eq!(messages.len(), specs.len());
        for (mut message, spec) in messages.into_iter().zip(&specs) {
            let bytes: Vec<u8> = message.slices().iter().flat_map(|field| field.to_vec()).collect();
            prop_assert_eq!(&bytes, &spec.shared_content());
            prop_assert_eq!(message.slices().iter().map(|field| field.len()).collect::<Vec<_>>(), spec.lengths());
            prop_assert_eq!(message.slices_mut().count(), 0);
        }
    }
}
