//! A reader that was there first, or long before, or all the time: what it is told of its directories.

use std::fs;
use std::os::unix::fs::symlink;
use std::time::Duration;

use crate::common::{Scratch, jpeg, pending, put, queue_limit, until, wait};
use lazycam::frames::frame::Frame;
use lazycam::frames::watch::{Change, Watcher};

#[test]
fn a_rename_onto_current_is_a_frame_and_writing_in_place_is_told_apart() {
    let scratch = Scratch::new();
    let mut watcher = Watcher::new().unwrap();
    let id = watcher.add(scratch.path());
    fs::write(scratch.join("current.jpg"), jpeg(1)).unwrap();
    fs::rename(scratch.join("current.jpg"), scratch.join("other.jpg")).unwrap();
    assert_eq!(pending(&mut watcher), [(id, Change::Written)]);
    put(scratch.path(), &jpeg(1));
    put(scratch.path(), &jpeg(2));
    assert_eq!(pending(&mut watcher), [(id, Change::Frame)]);
    watcher.remove(id);
    put(scratch.path(), &jpeg(3));
    assert_eq!(pending(&mut watcher), []);
}

#[test]
fn a_directory_whose_ancestors_are_missing_is_waited_for() {
    let scratch = Scratch::new();
    let dir = scratch.join("a/b/c");
    let mut watcher = Watcher::new().unwrap();
    let id = watcher.add(&dir);
    fs::create_dir_all(scratch.join("a/b")).unwrap();
    fs::create_dir_all(scratch.join("a/other/c")).unwrap();
    assert_eq!(pending(&mut watcher), []);
    fs::create_dir(&dir).unwrap();
    until(&mut watcher, (id, Change::Returned));
    put(&dir, &jpeg(1));
    until(&mut watcher, (id, Change::Frame));
    // On the way nothing but moves is of interest now.
    fs::write(scratch.join("neighbour"), "").unwrap();
    fs::remove_file(scratch.join("neighbour")).unwrap();
    pending(&mut watcher);
    fs::write(scratch.join("neighbour"), "").unwrap();
    assert!(!wait(&watcher, Duration::from_millis(50)));
}

#[test]
fn a_chain_that_is_made_all_at_once_is_found_whatever_the_timing() {
    let scratch = Scratch::new();
    for round in 0..50 {
        let top = scratch.join(&format!("top{round}"));
        let dir = top.join("x/y/z");
        let maker = std::thread::spawn({
            let dir = dir.clone();
            move || fs::create_dir_all(dir).unwrap()
        });
        let mut watcher = Watcher::new().unwrap();
        let id = watcher.add(&dir);
        maker.join().unwrap();
        pending(&mut watcher);
        put(&dir, &jpeg(1));
        until(&mut watcher, (id, Change::Frame));
    }
}

#[test]
fn a_directory_deleted_and_made_again_is_told_while_an_old_frame_is_still_open() {
    let scratch = Scratch::new();
    let dir = scratch.join("camera");
    fs::create_dir(&dir).unwrap();
    put(&dir, &jpeg(1));
    let mut watcher = Watcher::new().unwrap();
    let id = watcher.add(&dir);
    // Holding it keeps the kernel from telling IN_DELETE_SELF.
    let held = Frame::open(&dir).unwrap();
    fs::remove_dir_all(&dir).unwrap();
    assert_eq!(pending(&mut watcher), [(id, Change::Gone)]);
    fs::create_dir(&dir).unwrap();
    assert_eq!(pending(&mut watcher), [(id, Change::Returned)]);
    put(&dir, &jpeg(2));
    assert_eq!(pending(&mut watcher), [(id, Change::Frame)]);
    drop(held);
    assert_eq!(pending(&mut watcher), []);
    put(&dir, &jpeg(2));
    assert_eq!(pending(&mut watcher), [(id, Change::Frame)]);
}

#[test]
fn a_parent_deleted_after_its_directory_and_made_again_is_told_while_an_old_frame_is_still_open() {
    let scratch = Scratch::new();
    let (top, dir) = (scratch.join("top"), scratch.join("top/parent/camera"));
    fs::create_dir_all(&dir).unwrap();
    put(&dir, &jpeg(1));
    let mut watcher = Watcher::new().unwrap();
    let id = watcher.add(&dir);
    // It keeps all of them from telling IN_DELETE_SELF.
    let _held = Frame::open(&dir).unwrap();
    fs::remove_dir_all(&dir).unwrap();
    assert_eq!(pending(&mut watcher), [(id, Change::Gone)]);
    fs::remove_dir(dir.parent().unwrap()).unwrap();
    fs::create_dir_all(&dir).unwrap();
    assert_eq!(pending(&mut watcher), [(id, Change::Returned)]);
    // From the bottom to the top, with a look after each.
    let mut gone = vec![(id, Change::Gone)];
    for part in [&dir, &scratch.join("top/parent"), &top] {
        let _ = fs::remove_dir_all(part);
        assert_eq!(pending(&mut watcher), gone);
        gone.clear();
    }
    fs::create_dir_all(&dir).unwrap();
    assert_eq!(pending(&mut watcher), [(id, Change::Returned)]);
    put(&dir, &jpeg(2));
    assert_eq!(pending(&mut watcher), [(id, Change::Frame)]);
}

#[test]
fn deleted_and_made_again_between_two_looks_is_told_too() {
    let scratch = Scratch::new();
    let dir = scratch.join("camera");
    fs::create_dir(&dir).unwrap();
    let mut watcher = Watcher::new().unwrap();
    let id = watcher.add(&dir);
    fs::remove_dir(&dir).unwrap();
    fs::create_dir(&dir).unwrap();
    assert_eq!(pending(&mut watcher), [(id, Change::Returned)]);
}

#[test]
fn another_directory_moved_into_its_place_is_noticed() {
    let scratch = Scratch::new();
    let (dir, other) = (scratch.join("camera"), scratch.join("other"));
    fs::create_dir(&dir).unwrap();
    fs::create_dir(&other).unwrap();
    let mut watcher = Watcher::new().unwrap();
    let id = watcher.add(&dir);
    fs::rename(&dir, scratch.join("away")).unwrap();
    assert_eq!(pending(&mut watcher), [(id, Change::Gone)]);
    fs::rename(&other, &dir).unwrap();
    assert_eq!(pending(&mut watcher), [(id, Change::Returned)]);
    put(&scratch.join("away"), &jpeg(1));
    assert_eq!(pending(&mut watcher), []);
    put(&dir, &jpeg(1));
    assert_eq!(pending(&mut watcher), [(id, Change::Frame)]);
}

#[test]
fn an_ancestor_moved_away_takes_the_directory_with_it() {
    let scratch = Scratch::new();
    fs::create_dir_all(scratch.join("a/b/c")).unwrap();
    let mut watcher = Watcher::new().unwrap();
    let id = watcher.add(&scratch.join("a/b/c"));
    fs::rename(scratch.join("a"), scratch.join("z")).unwrap();
    assert_eq!(pending(&mut watcher), [(id, Change::Gone)]);
    fs::rename(scratch.join("z"), scratch.join("a")).unwrap();
    assert_eq!(pending(&mut watcher), [(id, Change::Returned)]);
}

#[test]
fn symlinks_are_followed_dangling_and_turned_elsewhere() {
    let scratch = Scratch::new();
    symlink("real/../store/one", scratch.join("link")).unwrap();
    let mut watcher = Watcher::new().unwrap();
    let id = watcher.add(&scratch.join("link/camera"));
    fs::create_dir(scratch.join("real")).unwrap();
    fs::create_dir_all(scratch.join("store/one/camera")).unwrap();
    until(&mut watcher, (id, Change::Returned));
    fs::create_dir_all(scratch.join("store/two/camera")).unwrap();
    symlink("store/two", scratch.join("link.new")).unwrap();
    fs::rename(scratch.join("link.new"), scratch.join("link")).unwrap();
    assert_eq!(pending(&mut watcher), [(id, Change::Returned)]);
    put(&scratch.join("store/one/camera"), &jpeg(1));
    assert_eq!(pending(&mut watcher), []);
    put(&scratch.join("store/two/camera"), &jpeg(1));
    assert_eq!(pending(&mut watcher), [(id, Change::Frame)]);
}

#[test]
fn a_symlink_that_leads_to_itself_is_waited_for_like_nothing() {
    let scratch = Scratch::new();
    symlink("loop", scratch.join("loop")).unwrap();
    let mut watcher = Watcher::new().unwrap();
    let id = watcher.add(&scratch.join("loop"));
    assert_eq!(watcher.retry_at(), None);
    fs::remove_file(scratch.join("loop")).unwrap();
    fs::create_dir(scratch.join("loop")).unwrap();
    until(&mut watcher, (id, Change::Returned));
}

#[test]
fn directories_that_share_ancestors_or_are_the_same_are_told_apart() {
    let scratch = Scratch::new();
    let mut watcher = Watcher::new().unwrap();
    let front = watcher.add(&scratch.join("run/front"));
    let back = watcher.add(&scratch.join("run/back"));
    let parent = watcher.add(&scratch.join("run"));
    let again = watcher.add(&scratch.join("run/../run/front"));
    fs::create_dir_all(scratch.join("run/front")).unwrap();
    let changes = until(&mut watcher, (again, Change::Returned));
    assert!(changes.contains(&(front, Change::Returned)));
    assert!(changes.contains(&(parent, Change::Returned)));
    fs::create_dir_all(scratch.join("run/back")).unwrap();
    assert_eq!(pending(&mut watcher), [(back, Change::Returned)]);
    put(&scratch.join("run/front"), &jpeg(1));
    let both = [(front, Change::Frame), (again, Change::Frame)];
    assert_eq!(pending(&mut watcher), both);
    // The watch is shared: one owner leaves, the others go on.
    watcher.remove(front);
    watcher.remove(parent);
    put(&scratch.join("run/front"), &jpeg(1));
    put(&scratch.join("run"), &jpeg(1));
    assert_eq!(pending(&mut watcher), [(again, Change::Frame)]);
    fs::remove_dir_all(scratch.join("run/front")).unwrap();
    assert_eq!(pending(&mut watcher), [(again, Change::Gone)]);
    put(&scratch.join("run/back"), &jpeg(1));
    assert_eq!(pending(&mut watcher), [(back, Change::Frame)]);
}

#[test]
fn after_an_overflow_every_directory_is_to_be_looked_at() {
    let Some(limit) = queue_limit() else {
        return;
    };
    let scratch = Scratch::new();
    let (one, two) = (scratch.join("one"), scratch.join("two"));
    fs::create_dir(&one).unwrap();
    fs::create_dir(&two).unwrap();
    let mut watcher = Watcher::new().unwrap();
    let ids = [watcher.add(&one), watcher.add(&two)];
    // Two names by turns, for equal events in a row become one.
    fs::write(one.join("a"), "").unwrap();
    for _ in 0..=limit / 2 {
        fs::rename(one.join("a"), one.join("b")).unwrap();
        fs::rename(one.join("b"), one.join("a")).unwrap();
    }
    put(&two, &jpeg(1));
    let changes = pending(&mut watcher);
    assert_eq!(changes, ids.map(|id| (id, Change::Returned)));
    put(&two, &jpeg(1));
    assert_eq!(pending(&mut watcher), [(ids[1], Change::Frame)]);
}
