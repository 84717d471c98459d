//! Streams: their parts in order, their rate, repeats, and their end.

use super::*;

#[test]
fn a_stream_sends_head_boundary_frame_and_delimiter_in_this_order() {
    for step in [1, 7, usize::MAX] {
        let mut scene = Scene::after(STREAM);
        let head = scene.take(step);
        assert!(head.starts_with("HTTP/1.0 200 OK\r\n"), "{head}");
        assert!(head.ends_with("\r\n\r\n--boundarydonotcross\r\n"), "{head}");
        scene.give(1, SIZE);
        assert_eq!(scene.want(), None, "one frame at a time");
        assert_eq!(
            scene.take(step),
            "Content-Type: image/jpeg\r\nContent-Length: 5000\r\nX-Timestamp: 0.000000\r\nX-Frame-Age: 0.000000\r\n\r\n\
             <frame of 5000>\r\n--boundarydonotcross\r\n"
        );
        assert!(matches!(
            scene.want(),
            Some(Want::Stream { have: Some(1), .. })
        ));
    }
}

#[test]
fn a_frame_that_is_there_goes_out_with_the_head() {
    let mut scene = Scene::after(STREAM);
    assert!(matches!(
        scene.want(),
        Some(Want::Stream { have: None, .. })
    ));
    scene.give(1, SIZE);
    let output = scene.connection.output().unwrap();
    assert!(output.file.is_some(), "the frame follows at once");
    assert!(output.head.starts_with(b"HTTP/1.0 200"));
    assert!(
        output
            .head
            .ends_with(b"X-Timestamp: 0.000000\r\nX-Frame-Age: 0.000000\r\n\r\n")
    );
}

#[test]
fn a_viewer_that_closes_its_side_has_left() {
    let mut scene = Scene::after(STREAM);
    scene.connection.end_of_input();
    assert_eq!(scene.connection.closed(), Some(CloseReason::Left));
}

#[test]
fn a_stream_ends_with_a_delimiter_when_the_picture_changes_its_size() {
    let mut scene = Scene::after(STREAM);
    scene.give(1, SIZE);
    scene.take(100);
    scene.give(2, Size { width: 320, ..SIZE });
    assert_eq!(scene.take(100), "");
    assert!(scene.connection.take_shutdown());
}

#[test]
fn a_stream_wants_a_repeat_when_nothing_was_sent_for_a_while() {
    let mut scene = Scene::after(STREAM);
    scene.give(1, SIZE);
    scene.take(100);
    scene.pass(4_999);
    assert!(matches!(
        scene.want(),
        Some(Want::Stream { repeat: false, .. })
    ));
    scene.pass(1);
    assert!(matches!(
        scene.want(),
        Some(Want::Stream { repeat: true, .. })
    ));
    scene.connection.give_nothing(None, &scene.owner.lend());
    let later = scene.owner.now + Duration::from_secs(5);
    assert_eq!(
        scene.connection.deadline(&scene.owner.settings),
        Some(later),
        "a deadline in the past would be met again at once, for ever"
    );
    scene.pass(5_000);
    scene.give(1, SIZE);
    assert_eq!(scene.owner.stats.repeats, 1);
}

#[test]
fn a_repeat_is_due_so_long_after_the_system_has_taken_the_last_frame() {
    let mut scene = Scene::after(STREAM);
    scene.give(1, SIZE);
    // The line is slow.
    scene.pass(6_000);
    scene.take(1000);
    let repeats = |scene: &Scene| match scene.want() {
        Some(Want::Stream { repeat, .. }) => repeat,
        other => panic!("{other:?}"),
    };
    assert!(!repeats(&scene));
    scene.pass(4_999);
    assert!(!repeats(&scene));
    scene.pass(1);
    assert!(repeats(&scene));
    // The camera is asked first, and the stream has to wait for it until then.
    let until = scene.owner.now + Duration::from_secs(2);
    scene
        .connection
        .give_nothing(Some(until), &scene.owner.lend());
    assert_eq!(
        scene.connection.deadline(&scene.owner.settings),
        Some(until)
    );
    scene.pass(2_000);
    assert!(repeats(&scene));
}

#[test]
fn a_rate_is_kept_on_a_grid_without_making_up_for_what_was_missed() {
    let mut scene = Scene::after("GET /stream?fps=10 HTTP/1.0\r\n\r\n");
    let start = scene.owner.now;
    let not_before = |scene: &Scene| match scene.want() {
        Some(Want::Stream { not_before, .. }) => not_before.saturating_duration_since(start),
        other => panic!("{other:?}"),
    };
    scene.give(1, SIZE);
    scene.take(100);
    assert_eq!(not_before(&scene), Duration::from_millis(100));
    scene.pass(97);
    scene.give(2, SIZE);
    scene.take(100);
    assert_eq!(not_before(&scene), Duration::from_millis(200));
    scene.pass(1000);
    scene.give(3, SIZE);
    scene.take(100);
    assert_eq!(not_before(&scene), Duration::from_millis(1097));
}

/// The next server sends to the byte what this one would have sent.
#[test]
fn a_stream_goes_on_in_the_next_server_as_it_would_have_here() {
    let webkit = "User-Agent: AppleWebKit/605\r\nAccept: image/png\r\nHost: 127.0.0.1\r\nOrigin: http://127.0.0.1:81\r\n";
    for (target, fields) in [
        ("/front/stream", ""),
        ("/bench/stream?fps=5&key=a%2Cb%20c", ""),
        ("/stream?extra_headers=1&dual_final_frames=1", ""),
        ("/stream?advance_headers=1", ""),
        ("/stream?zero_data=1", ""),
        ("/stream", webkit),
        ("/stream?advance_headers=0", webkit),
    ] {
        let request = format!("GET {target} HTTP/1.1\r\nHost: 127.0.0.1\r\n{fields}\r\n");
        let request = match fields.contains("Host") {
            true => request.replacen("Host: 127.0.0.1\r\n", "", 1),
            false => request,
        };
        let mut here = Scene::after(&request);
        here.give(1, SIZE);
        here.take(usize::MAX);
        let mut there = Scene::after(&request);
        there.give(1, SIZE);
        // It is told to end in the midst of a frame, which is sent to its end.
        there.take(usize::MAX);
        there.owner.settings.hands_over = true;
        there.connection.stop(&mut there.owner.lend());
        assert_eq!(
            there.connection.closed(),
            Some(CloseReason::HandedOver),
            "{target}"
        );
        let words = there.connection.to_words(&there.owner.roster).unwrap();
        assert!(
            !words.contains(|c: char| c == ':' || c.is_control()),
            "{words:?}"
        );
        let mut next = Scene::new();
        (next.owner.now, next.owner.wall) = (here.owner.now, here.owner.wall);
        next.connection = Connection::resumed(&words, &mut next.owner.lend()).unwrap();
        for scene in [&mut here, &mut next] {
            scene.pass(5000);
        }
        for number in [2, 3] {
            here.give(number, SIZE);
            next.give(number, SIZE);
            let expected = here.take(usize::MAX);
            assert!(!expected.is_empty(), "{target}");
            // The rate is that of each server.
            let rest = |sent: String| -> String {
                let lines = sent.split_inclusive("\r\n");
                lines
                    .filter(|line| !line.starts_with("X-UStreamer-Client-FPS"))
                    .collect()
            };
            assert_eq!(rest(next.take(usize::MAX)), rest(expected), "{target}");
        }
        let key = |scene: &Scene| scene.connection.quirks().unwrap().key.clone();
        assert_eq!(key(&next), key(&here));
        next.give(4, Size { width: 320, ..SIZE });
        here.give(4, Size { width: 320, ..SIZE });
        assert_eq!(
            next.connection.take_shutdown(),
            here.connection.take_shutdown()
        );
    }
}

#[test]
fn a_frame_that_is_on_its_way_is_sent_to_its_end_before_a_stream_is_handed_over() {
    let mut scene = Scene::after(STREAM);
    scene.give(1, SIZE);
    scene.owner.settings.hands_over = true;
    scene.connection.stop(&mut scene.owner.lend());
    assert_eq!(scene.connection.closed(), None);
    assert!(scene.take(usize::MAX).ends_with("--boundarydonotcross\r\n"));
    assert_eq!(scene.connection.closed(), Some(CloseReason::HandedOver));
    assert!(!scene.connection.take_shutdown());
}

#[test]
fn what_cannot_be_gone_on_with_is_not() {
    for words in [
        "",
        "stream1",
        "stream2 front 0 0 0 0 00000 0 ",
        "stream1 gone 0 0 0 0 00000 0 ",
        "stream1 front 0 0 0 0 0000 0 ",
        "stream1 front 0 0 0 0 00000",
        "stream1 front x 0 0 0 00000 0 ",
    ] {
        let mut scene = Scene::new();
        let resumed = Connection::<()>::resumed(words, &mut scene.owner.lend());
        assert!(resumed.is_none(), "{words}");
    }
    let mut scene = Scene::new();
    let words = "stream1 front 0 0 0 0 00000 0 ";
    assert!(Connection::<()>::resumed(words, &mut scene.owner.lend()).is_some());
}
