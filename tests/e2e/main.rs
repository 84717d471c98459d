//! The tests that drive the real program from outside, all in one program: `cargo test --test e2e http::` runs one file of them.
//!
//! Why one: each test waits most of its time, for frames, deadlines and silence, so that many can wait at once, and one program is built and
//! linked once. `.cargo/config.toml` says how many. What not: what measures, and what uses up something of the whole user (`floods`, `idle`,
//! `injected`, `lines`, `proxies`, `slow_viewers`, beside this folder). Each of those is a program of its own, and cargo runs one after another.

#[path = "../common/mod.rs"]
mod common;

mod auth;
mod cameras;
mod control_http;
mod controls;
mod documentation;
mod encoder;
mod faults;
mod file_systems;
mod first_minutes;
mod frame_directory;
mod guides;
mod handover;
mod haproxy_script;
mod http;
mod large_frames;
mod leaving;
mod manual;
mod quirks;
mod relay;
mod rfc9110;
mod rfc9112;
mod run;
mod sandbox;
mod several_cameras;
mod slow_cameras;
mod slow_programs;
mod snapshot;
mod sockets;
mod stamps;
mod state;
mod strangers;
mod stream;
mod surroundings;
mod trigger_limits;
mod troubleshooting;
mod turned;
mod units;
mod unusable;
mod watch;
