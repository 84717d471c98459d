use super::*;

/// A picture as far as its markers go.
fn jpeg(mark: u8) -> Vec<u8> {
    let mut bytes = vec![0xFF, 0xD8, 0xFF, 0xDB, 0, 67, 0];
    bytes.resize(bytes.len() + 64, 1);
    bytes.extend([0xFF, 0xC0, 0, 11, 8, 0, 8, 0, 16, 1, 1, 0x11, 0]);
    bytes.extend([0xFF, 0xDA, 0, 8, 1, 1, 0, 0, 63, 0]);
    bytes.extend([mark; 40]);
    bytes.extend(b"\r\n--frame\r\n");
    bytes.extend([0xFF, 0xD9]);
    bytes
}

/// The marks of the pictures that are found when so much is read at a time.
fn marks(answer: &[u8], read: usize) -> Result<Vec<u8>, Refusal> {
    let (mut reader, mut pictures) = (CameraAnswer::new(), Pictures::new("camera".into()));
    let mut marks = Vec::new();
    for bytes in answer.chunks(read) {
        reader.feed(bytes, SystemTime::now(), &mut pictures)?;
        if pictures.news().is_some() {
            let jpeg = pictures.jpeg().unwrap();
            marks.push(jpeg[jpeg.len() - 20]);
        }
    }
    Ok(marks)
}

#[track_caller]
fn expect(answer: &[u8], expected: &[u8]) {
    for read in [1, 7, 50] {
        assert_eq!(
            marks(answer, read).as_deref(),
            Ok(expected),
            "reads of {read}"
        );
    }
    // Of those that come at once, only the last one counts.
    let last = expected.last().copied().into_iter().collect();
    assert_eq!(marks(answer, answer.len()), Ok(last));
}

fn parts(kind: &str, delimiter: &str, with_length: bool) -> Vec<u8> {
    let mut answer = format!("HTTP/1.0 200 OK\r\nContent-Type: {kind}\r\n\r\n").into_bytes();
    for mark in 1..=3 {
        let jpeg = jpeg(mark);
        answer.extend(format!("{delimiter}\r\nContent-Type: image/jpeg\r\n").bytes());
        if with_length {
            answer.extend(format!("content-length:{}\r\n", jpeg.len()).bytes());
        }
        answer.extend([b"\r\n".as_slice(), &jpeg, b"\r\n"].concat());
    }
    answer
}

#[test]
fn boundaries_are_known_however_they_are_declared() {
    for (kind, delimiter) in [
        ("multipart/x-mixed-replace;boundary=frame", "--frame"),
        ("multipart/x-mixed-replace; boundary=\"frame\"", "--frame"),
        (
            "multipart/x-mixed-replace; charset=x; Boundary=--frame",
            "--frame",
        ),
        ("multipart/x-mixed-replace; boundary=--frame", "----frame"),
        ("multipart/x-mixed-replace; boundary=frame", "frame"),
        ("multipart/x-mixed-replace; boundary=frame", "--other"),
        ("Multipart/X-Mixed-Replace", "--frame"),
        (
            "multipart/x-mixed-replace; boundary=123456789000000000000987654321",
            "--123456789000000000000987654321",
        ),
        ("multipart/x-mixed-replace; boundary=a:b", "--a:b"),
    ] {
        expect(&parts(kind, delimiter, true), &[1, 2, 3]);
        expect(&parts(kind, delimiter, false), &[1, 2, 3]);
    }
}

#[test]
fn what_is_around_the_pictures_is_left_out() {
    let usual = parts("multipart/x-mixed-replace;boundary=frame", "--frame", true);
    let head = memchr::memmem::find(&usual, b"\r\n\r\n").unwrap() + 4;
    let text = b"--frame\r\nContent-Type: text/plain\r\nContent-Length: 9\r\n\r\n--frame\r\n\r\n";
    let preamble = b"This is a preamble.\r\n\r\nX: y\r\n";
    expect(
        &[&usual[..head], preamble, text, &usual[head..]].concat(),
        &[1, 2, 3],
    );
}

#[test]
fn a_length_that_is_not_right_costs_no_more_than_a_picture() {
    let usual = parts("multipart/x-mixed-replace;boundary=frame", "--frame", true);
    let len = jpeg(1).len();
    let at = memchr::memmem::find(&usual, format!("length:{len}").as_bytes()).unwrap();
    let mut wrong = usual.clone();
    wrong.splice(
        at + 7..at + 7 + len.to_string().len(),
        b"30".iter().copied(),
    );
    let (mut reader, mut pictures) = (CameraAnswer::new(), Pictures::new("camera".into()));
    reader
        .feed(&wrong, SystemTime::now(), &mut pictures)
        .unwrap();
    assert!(pictures.news().is_some());
    // The tables that it lacks are in it now.
    assert!(pictures.jpeg().unwrap().ends_with(&jpeg(3)[90..]));
}

#[test]
fn bodies_come_in_chunks_or_not_and_may_be_nothing_but_pictures() {
    let usual = parts("multipart/x-mixed-replace;boundary=frame", "--frame", true);
    let head = memchr::memmem::find(&usual, b"\r\n\r\n").unwrap() + 4;
    let mut chunked =
        b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nTransfer-Encoding: Chunked\r\n\
        Content-Type: multipart/x-mixed-replace;boundary=frame\r\n\r\n"
            .to_vec();
    for chunk in usual[head..].chunks(37) {
        chunked.extend(format!("{:x};a=b\r\n", chunk.len()).bytes());
        chunked.extend([chunk, b"\r\n"].concat());
    }
    chunked.extend(b"0\r\n\r\n");
    expect(&chunked, &[1, 2, 3]);
    let head = b"HTTP/1.0 200 OK\r\nContent-Type: video/x-motion-jpeg\r\nContent-Length: 0\r\n\r\n"
        .to_vec();
    expect(&[head, jpeg(1), jpeg(2)].concat(), &[1, 2]);
}

#[test]
fn the_age_of_a_picture_is_subtracted_from_its_arrival() {
    let mut answer =
        b"HTTP/1.0 200 OK\r\nContent-Type: multipart/x-mixed-replace\r\n\r\n--x\r\n".to_vec();
    let jpeg = jpeg(1);
    answer.extend(format!("X-Frame-Age: 2.5\r\nContent-Length: {}\r\n\r\n", jpeg.len()).bytes());
    answer.extend(jpeg);
    let (mut reader, mut pictures) = (CameraAnswer::new(), Pictures::new("camera".into()));
    let now = SystemTime::now();
    reader.feed(&answer, now, &mut pictures).unwrap();
    assert_eq!(pictures.news(), Some(now - Duration::from_millis(2500)));
}

#[test]
fn an_answer_without_pictures_says_why() {
    let refusal = |answer: &str| marks(answer.as_bytes(), 9).unwrap_err();
    let busy = refusal(
        "HTTP/1.1 503 Service Unavailable\r\nRetry-After: 7\r\nX-Frame-Error: unplugged\r\n\r\n",
    );
    assert_eq!(busy.what, "answers 503 Service Unavailable: unplugged");
    assert_eq!(busy.wait, Some(Duration::from_secs(7)));
    let told = refusal("HTTP/1.0 401 Unauthorized\r\n\r\n").what;
    assert_eq!(told, "answers 401 Unauthorized: it asks for a password");
    let told = refusal("HTTP/1.1 302 Found\r\nLocation: /login?token=x\r\n\r\n").what;
    assert_eq!(told, "answers 302 Found and sends us to /login");
    let other = "HTTP/1.1 302 Found\r\nLocation: http://a:secret@cam:81/x@y?z\r\n\r\n";
    let told = refusal(other).what;
    assert_eq!(told, "answers 302 Found and sends us to http://cam:81/x@y");
    let told = refusal("HTTP/1.1 200 OK\r\nContent-Type: text/html\r\n\r\n").what;
    assert_eq!(
        told,
        "answers with text/html, which is no stream: is the path right?"
    );
    assert_eq!(
        refusal("220 smtp\r\n\r\n").what,
        "sends an answer that is not HTTP"
    );
    let endless = format!("HTTP/1.1 200 OK\r\nX: {}", "y".repeat(HEAD));
    assert_eq!(
        refusal(&endless).what,
        "sends an answer whose head is too long"
    );
    let huge = "HTTP/1.1 200 OK\r\nContent-Type: multipart/x\r\n\r\n--x\r\nContent-Length: 99999999999\r\n\r\n";
    assert!(refusal(huge).what.starts_with("sends a picture of "));
    let chunks = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nhello\r\n";
    assert_eq!(refusal(chunks).what, "sends chunks that cannot be read");
}

#[test]
fn a_single_picture_ends_with_its_length_its_chunks_or_the_connection() {
    let picture = jpeg(5);
    let len = picture.len();
    let read = |head: &str, body: &[u8], is_closed: bool| {
        let (mut reader, mut pictures) = (CameraAnswer::new(), Pictures::new("camera".into()));
        let answer = [
            format!("{head}\r\nContent-Type: image/jpeg\r\n\r\n").as_bytes(),
            body,
        ]
        .concat();
        for bytes in answer.chunks(11) {
            reader
                .feed(bytes, SystemTime::now(), &mut pictures)
                .unwrap();
        }
        if is_closed {
            reader.close(&mut pictures);
        }
        assert_eq!(pictures.news().is_some(), reader.single().is_some());
        reader
            .single()
            .map(|single| (single.after.clone(), single.is_kept))
    };
    let kept = format!(
        "HTTP/1.1 200 OK\r\nX-Timestamp: 12.5\r\nX-Frame-Age: 0.1\r\nContent-Length: {len}"
    );
    assert_eq!(
        read(&kept, &picture, false),
        Some((Some("12.5".into()), true))
    );
    assert_eq!(read(&kept, &picture[1..], true), None);
    let strange = kept.replace("12.5", "1&x=2");
    assert_eq!(read(&strange, &picture, false), Some((None, true)));
    let closed =
        format!("HTTP/1.1 200 OK\r\nConnection: close\r\nX-Timestamp: 1\r\nContent-Length: {len}");
    assert_eq!(read(&closed, &picture, false), Some((None, false)));
    let chunks = [
        format!("{len:x}\r\n").as_bytes(),
        &picture,
        b"\r\n0\r\n\r\n",
    ]
    .concat();
    let chunked = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked";
    assert_eq!(read(chunked, &chunks, false), Some((None, true)));
    assert_eq!(read("HTTP/1.0 200 OK", &picture, false), None);
    assert_eq!(read("HTTP/1.0 200 OK", &picture, true), Some((None, false)));
}
