//! The configurations of docs/proxies.md, each run by its proxy as it stands there, with a viewer behind a slow line.
//!
//! What counts is the age of a frame at its last byte, as a ratio to that without a proxy and to that with the proxy's own
//! settings, measured at the same time: the same configuration without the lines that bound its buffers. Each case has machines of its own
//! (network namespaces), so that all are measured at once on ports that are free.
//!
//! Alone, because it measures, and before all other programs of the machine (`common::network::waits_for_nobody`).

#![allow(
    clippy::print_stdout,
    reason = "figures, for those who run with --nocapture"
)]

mod common;

use std::fs;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use common::frames::Maker;
use common::http::{Client, Stream};
use common::network::{Namespace, Viewer, waits_for_nobody};
use common::process::{Process, clean, is_emulated, lazycam, wrapped};
use common::producer::Feeder;
use common::{PATIENCE, Scratch, skipped};

const PAGE: &str = include_str!("../docs/proxies.md");

const FRAME: usize = 40 * 1024;
const FPS: f64 = 30.0;
const LINE: u32 = 4_000_000;

/// Queues of megabytes take this long to fill.
const WARM_UP: Duration = Duration::from_secs(10);
const MEASURED: Duration = Duration::from_secs(8);

/// Where the server listens for the proxy, as the page says, and for viewers without one.
const LISTEN: [&str; 4] = ["--listen", "127.0.0.1:8080", "--listen", "0.0.0.0:8081"];

/// A proxy, and what its configuration is made of.
struct Proxy {
    name: &'static str,
    /// What makes the page's settings different from the proxy's own.
    bounds: &'static [&'static str],
    /// It has no bounds of its own for both of its buffers, and needs the page's settings for the whole system.
    system: bool,
    /// The command line that runs this configuration file with this directory for its files.
    arguments: fn(&Path, &Path) -> Vec<PathBuf>,
    /// What the page leaves out because every installation has it.
    around: fn(String) -> String,
}

/// What the page says can stand in the place of one line.
struct Change {
    /// The name of this block.
    name: &'static str,
    /// How that line begins.
    line: &'static str,
    /// Viewers speak HTTP/2 over TLS then, as browsers do: curl is the viewer.
    speaks_http2: bool,
}

const HAPROXY_HTTP2: Change = Change {
    name: "haproxy-http2",
    line: "    bind :80",
    speaks_http2: true,
};

const NGINX_HTTP2: Change = Change {
    name: "nginx-http2",
    line: "    listen 80",
    speaks_http2: true,
};

const NGINX_UNIX: Change = Change {
    name: "nginx-unix",
    line: "        proxy_pass",
    speaks_http2: false,
};

const HAPROXY: Proxy = Proxy {
    name: "haproxy",
    bounds: &["tune."],
    system: false,
    arguments: |file, _| vec!["haproxy".into(), "-db".into(), "-f".into(), file.into()],
    around: |text| text,
};

const NGINX: Proxy = Proxy {
    name: "nginx",
    bounds: &["proxy_buffering off", "sndbuf=32k"],
    system: true,
    arguments: |file, dir| {
        let dir: PathBuf = dir.into();
        vec!["nginx".into(), "-p".into(), dir, "-c".into(), file.into()]
    },
    around: |text| {
        format!(
            "daemon off; pid nginx.pid; error_log stderr; user root;\nevents {{}}\n\
             http {{ access_log off; client_body_temp_path t; proxy_temp_path t; fastcgi_temp_path t; \
             uwsgi_temp_path t; scgi_temp_path t;\n{text}}}\n"
        )
    },
};

const CADDY: Proxy = Proxy {
    name: "caddy",
    bounds: &["flush_interval"],
    system: true,
    arguments: |file, _| {
        let words = ["caddy", "run", "--adapter", "caddyfile", "--config"];
        words
            .iter()
            .map(PathBuf::from)
            .chain([file.into()])
            .collect()
    },
    around: |text| format!("{{\n    admin off\n}}\n{text}"),
};

const LIGHTTPD: Proxy = Proxy {
    name: "lighttpd",
    // By itself it passes nothing on for half a minute, which is no age: what is compared is the page's file without the
    // system's settings.
    bounds: &[],
    system: true,
    arguments: |file, _| vec!["lighttpd".into(), "-D".into(), "-f".into(), file.into()],
    around: |text| text,
};

const APACHE: Proxy = Proxy {
    name: "apache2",
    bounds: &["SendBufferSize", "ProxyReceiveBufferSize"],
    system: true,
    arguments: |file, dir| {
        vec![
            "apache2".into(),
            "-DFOREGROUND".into(),
            "-d".into(),
            dir.into(),
            "-f".into(),
            file.into(),
        ]
    },
    around: |text| {
        let modules = ["mpm_event", "authz_core", "proxy", "proxy_http"];
        let load = |module: &str| {
            format!("LoadModule {module}_module /usr/lib/apache2/modules/mod_{module}.so\n")
        };
        let modules: String = modules.into_iter().map(load).collect();
        format!("{modules}PidFile pid\nErrorLog /dev/stderr\nServerName test\n{text}")
    },
};

#[test]
fn haproxy_keeps_pictures_fresh_for_viewers_that_speak_http2() {
    // 2.6; with 3.0 and 3.2 it is as without HTTP/2.
    measure(&HAPROXY, Some(&HAPROXY_HTTP2), 12.5);
}

#[test]
fn nginx_keeps_pictures_fresh_for_viewers_that_speak_http2() {
    measure(&NGINX, Some(&NGINX_HTTP2), 5.2);
}

#[test]
fn nginx_with_the_unix_socket_keeps_pictures_fresh_without_the_systems_settings() {
    let nginx = Proxy {
        system: false,
        ..NGINX
    };
    measure(&nginx, Some(&NGINX_UNIX), 7.0);
}

#[test]
fn lighttpd_with_the_pages_settings_keeps_pictures_fresh_behind_a_slow_line() {
    measure(&LIGHTTPD, None, 7.7);
}

#[test]
fn apache_with_the_pages_settings_keeps_pictures_fresh_behind_a_slow_line() {
    measure(&APACHE, None, 7.0);
}

#[test]
fn haproxy_with_the_pages_settings_keeps_pictures_fresh_behind_a_slow_line() {
    measure(&HAPROXY, None, 5.0);
}

#[test]
fn nginx_with_the_pages_settings_keeps_pictures_fresh_behind_a_slow_line() {
    measure(&NGINX, None, 5.2);
}

#[test]
fn caddy_with_the_pages_settings_keeps_pictures_fresh_behind_a_slow_line() {
    measure(&CADDY, None, 5.7);
}

/// Clients of mjpg-streamer ask in either way, and not all of them follow a redirect.
#[test]
fn each_proxy_answers_mjpg_streamers_urls_with_and_without_the_slash_by_pictures() {
    let source = Source::start();
    for proxy in [HAPROXY, NGINX, CADDY, LIGHTTPD, APACHE] {
        if !has(proxy.name) {
            continue;
        }
        let configuration = Some(block(proxy.name));
        let Some(rig) = Rig::new(source.path(), &proxy, configuration, false, false) else {
            return;
        };
        rig.expect_pictures(proxy.name);
    }
}

/// Median ages.
struct Ages {
    none: Duration,
    ours: Duration,
    defaults: Duration,
}

/// Frames are in the median at most `as_old` times as old as without a proxy: what the page tells, and half as much again. With the proxy's own
/// settings they are 4 to 17 times as old, which is only told: the server notices by itself that a proxy reads slowly, now sooner and now later.
fn measure(proxy: &Proxy, change: Option<&Change>, as_old: f64) {
    let needs_curl = change.is_some_and(|change| change.speaks_http2);
    if !has(proxy.name) || needs_curl && !(has("curl") && has("openssl")) {
        return;
    }
    if is_emulated() {
        return skipped("an emulator's speed says nothing about a line");
    }
    let Some(ages) = once(proxy, change) else {
        return;
    };
    let Ages {
        none,
        ours,
        defaults,
    } = ages;
    let name = change.map_or(proxy.name, |change| change.name);
    println!(
        "{name}: {ours:?} with the page's settings, {defaults:?} with its own, {none:?} without a proxy"
    );
    assert!(ours <= none.mul_f64(as_old), "{ours:?}, without {none:?}");
}

fn once(proxy: &Proxy, change: Option<&Change>) -> Option<Ages> {
    if !waits_for_nobody() {
        return None;
    }
    let source = Source::start();
    let mut ours = block(proxy.name);
    if let Some(change) = change {
        let (before, rest) = ours.split_once(change.line).unwrap();
        let (_, after) = rest.split_once('\n').unwrap();
        ours = before.to_owned() + &block(change.name) + after;
    }
    let bounds = |line: &&str| !proxy.bounds.iter().any(|bound| line.contains(bound));
    // nginx has its bound in the line that says where to listen.
    let own = ours.replace(" sndbuf=32k", "");
    let own: Vec<_> = own.lines().filter(bounds).collect();
    let own = own.join("\n") + "\n";
    assert!(ours != own || proxy.system, "the page bounds nothing");
    let cases = [None, Some(ours), Some(own)];
    let mut rigs = Vec::new();
    for (number, configuration) in cases.into_iter().enumerate() {
        let rig = Rig::new(
            source.path(),
            proxy,
            configuration,
            proxy.system && number == 1,
            change.is_some_and(|change| change.speaks_http2),
        );
        rigs.push(rig?);
    }
    let ages: Vec<_> = thread::scope(|scope| {
        let running: Vec<_> = rigs.iter().map(|rig| scope.spawn(|| rig.age())).collect();
        running.into_iter().map(|run| run.join().unwrap()).collect()
    });
    Some(Ages {
        none: ages[0],
        ours: ages[1],
        defaults: ages[2],
    })
}

/// A camera.
struct Source {
    _feeder: Feeder,
    _capture: Process,
    frames: Scratch,
}

impl Source {
    fn start() -> Self {
        let frames = Scratch::new();
        let directory = frames.path().to_str().unwrap();
        let mut capture = lazycam(&["capture", "--source", "stdin", "--frames", directory]);
        capture.stdin(Stdio::piped());
        let mut capture = Process::start(capture);
        Source {
            _feeder: Feeder::start(capture.take_stdin(), FPS, Maker::new(FRAME)),
            _capture: capture,
            frames,
        }
    }

    fn path(&self) -> &Path {
        self.frames.path()
    }
}

/// A server, perhaps a proxy before it, and a viewer at the far end of a slow line.
struct Rig {
    viewer: Viewer,
    speaks_http2: bool,
    port: u16,
    target: &'static str,
    _server: Process,
    _proxy: Option<Process>,
    _namespace: Namespace,
    _files: Scratch,
}

impl Rig {
    fn new(
        frames: &Path,
        proxy: &Proxy,
        configuration: Option<String>,
        system: bool,
        speaks_http2: bool,
    ) -> Option<Self> {
        let (namespace, files) = (Namespace::new()?, Scratch::new());
        if !waits_for_nobody() {
            return None;
        }
        let viewer = namespace.viewer(Some(LINE));
        if system {
            for setting in block("sysctl")
                .lines()
                .filter(|line| line.starts_with("net."))
            {
                let (name, value) = setting.split_once(" = ").unwrap();
                let file = format!("/proc/sys/{}", name.replace('.', "/"));
                let write = format!("echo '{value}' > {file}");
                let words = namespace.wrapper();
                let written = Command::new(words[0])
                    .args(&words[1..])
                    .args(["sh", "-c", &write])
                    .status();
                assert!(written.unwrap().success(), "{setting}");
            }
        }
        let mut serve = vec!["serve", "--frames", frames.to_str().unwrap()];
        serve.extend(LISTEN);
        let socket = files.join("lazycam.sock").to_str().unwrap().to_owned();
        serve.extend(["--listen", &socket]);
        let server = Process::start(wrapped(&namespace.wrapper(), &serve));
        server.lines("listening on ", 3);
        let (mut port, mut target, mut running) = (8081, "/stream", None);
        if let Some(text) = configuration {
            let file = files.join("configuration");
            let mut text = text.replace("/run/lazycam.sock", &socket);
            if speaks_http2 {
                text = text.replace("/etc/ssl/", &certificate(files.path()));
            }
            fs::write(&file, (proxy.around)(text)).unwrap();
            let words = namespace.wrapper();
            let mut command = clean(words[0]);
            command.args(&words[1..]);
            command.args((proxy.arguments)(&file, files.path()));
            command.env("HOME", files.path()).stdout(Stdio::null());
            running = Some(Process::start(command));
            target = "/webcam/stream";
            port = if speaks_http2 { 443 } else { 80 };
            let connection = patiently(|| viewer.try_connect(port));
            if !speaks_http2 {
                Client::over(connection).picture("/webcam/snapshot");
            }
        }
        Some(Rig {
            viewer,
            speaks_http2: port == 443,
            port,
            target,
            _server: server,
            _proxy: running,
            _namespace: namespace,
            _files: files,
        })
    }

    /// Asks behind the proxy as mjpg-streamer's clients do.
    fn expect_pictures(&self, name: &str) {
        let maker = Maker::new(FRAME);
        let client = || Client::over(self.viewer.connect(self.port));
        for prefix in ["/webcam", "/webcam/"] {
            let reply = client().picture(&format!("{prefix}?action=snapshot"));
            assert_eq!(reply.head.field("Content-Type"), Some("image/jpeg"));
            maker.verify(&reply.body);
            let mut stream = client().stream_without_chunks(&format!("{prefix}?action=stream"));
            stream.number(&maker);
            let page = client().get(prefix);
            let kind = page.head.field("Content-Type").unwrap_or_default();
            assert!(
                kind.starts_with("text/html"),
                "{name}, {prefix}: {:?}",
                page.head
            );
        }
    }

    /// The stream as curl gets it, and a snapshot before, of which it tells what was spoken.
    fn curl(&self) -> (Stream, Process) {
        let words = self.viewer.wrapper();
        let command = |target: &str, options: &[&str]| {
            let server = self.viewer.server();
            let mut command = clean(words[0]);
            command
                .args(&words[1..])
                .args(["curl", "--http2", "--insecure"]);
            command.args(["--silent", "--show-error", "--fail"]);
            command
                .args(options)
                .arg(format!("https://{server}:{}{target}", self.port));
            command
        };
        let tells = [
            "--output",
            "/dev/null",
            "--write-out",
            "%{http_version} %{content_type}",
        ];
        let told = command("/webcam/snapshot", &tells).output().unwrap();
        assert_eq!(
            String::from_utf8_lossy(&told.stdout),
            "2 image/jpeg",
            "{told:?}"
        );
        let (ours, theirs) = UnixStream::pair().unwrap();
        let mut stream = command(self.target, &["--no-buffer"]);
        stream.stdin(Stdio::null()).stdout(OwnedFd::from(theirs));
        let curl = Process::start(stream);
        (Client::over_unix(ours).body_of_stream(), curl)
    }

    /// Median age of the frames, once queues have had time to fill.
    fn age(&self) -> Duration {
        let (mut stream, _curl) = if self.speaks_http2 {
            let (stream, curl) = self.curl();
            (stream, Some(curl))
        } else {
            let client = Client::over(self.viewer.connect(self.port));
            (client.stream_without_chunks(self.target), None)
        };
        let (maker, start) = (Maker::new(FRAME), Instant::now());
        let (mut ages, mut last) = (Vec::new(), 0);
        while start.elapsed() < WARM_UP + MEASURED {
            let part = stream.part();
            let number = maker.verify(&part.jpeg).frame;
            assert!(number > last, "{number} after {last}");
            last = number;
            if start.elapsed() > WARM_UP {
                ages.push(part.age());
            }
        }
        ages.sort();
        ages[ages.len() / 2]
    }
}

/// The fenced block of the page that follows the comment `<!-- name -->`.
fn block(name: &str) -> String {
    let (_, after) = PAGE.split_once(&format!("<!-- {name} -->\n```\n")).unwrap();
    after.split_once("```").unwrap().0.to_owned()
}

/// Makes a certificate and its key, in one file and in two; the beginning of their paths.
fn certificate(place: &Path) -> String {
    let place = place.to_str().unwrap();
    let (key, pem) = (format!("{place}/camera.key"), format!("{place}/camera.pem"));
    let made = Command::new("openssl")
        .args([
            "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=test",
        ])
        .args(["-keyout", &key, "-out", &pem])
        .stderr(Stdio::null())
        .status();
    assert!(made.unwrap().success());
    let both = fs::read_to_string(&key).unwrap() + &fs::read_to_string(&pem).unwrap();
    fs::write(&pem, both).unwrap();
    format!("{place}/")
}

fn patiently<T>(mut attempt: impl FnMut() -> Option<T>) -> T {
    let limit = Instant::now() + PATIENCE;
    loop {
        if let Some(value) = attempt() {
            return value;
        }
        assert!(Instant::now() < limit, "the proxy does not listen");
        thread::sleep(Duration::from_millis(50));
    }
}

fn has(program: &str) -> bool {
    let found = Command::new(program)
        .arg(match program {
            "caddy" | "openssl" => "version",
            "curl" => "--version",
            _ => "-v",
        })
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
    let found = found.is_ok_and(|status| status.success());
    if !found {
        skipped(&format!("there is no {program} here"));
    }
    found
}
