use std::os::unix::fs::symlink;

use super::*;

#[test]
fn a_rule_is_on_the_directory_that_outlives_what_it_is_for() {
    let base = std::env::temp_dir().join(format!("lazycam-places-{}", std::process::id()));
    fs::create_dir_all(base.join("run/front")).unwrap();
    let base = fs::canonicalize(base).unwrap();
    symlink("run/front", base.join("link")).unwrap();
    symlink("run/late/front", base.join("early")).unwrap();
    symlink("circle", base.join("circle")).unwrap();
    for (path, expected) in [
        ("run/front", "run"),
        ("run/late", "run"),
        ("run/late/front", "run"),
        ("late/front", ""),
        ("link", "run"),
        ("early", "run"),
        ("run/../run/front", "run"),
    ] {
        assert_eq!(holder(&base.join(path)), base.join(expected), "{path}");
    }
    assert_eq!(nearest(&base.join("run")), base.join("run"));
    assert_eq!(nearest(&base.join("link")), base.join("run/front"));
    assert_eq!(nearest(&base.join("circle")), base);
    assert_eq!(holder(Path::new("/dev")), PathBuf::from("/dev"));
    fs::remove_dir_all(&base).unwrap();
}

#[test]
fn what_is_enforced_is_told_and_what_is_not_has_a_reason() {
    let mut sandbox = Sandbox {
        no_new_privs: true,
        ..Sandbox::default()
    };
    sandbox = sandbox.because("this kernel has no Landlock");
    assert_eq!(
        sandbox.to_string(),
        "no_new_privs; this kernel has no Landlock"
    );
    assert_eq!(
        sandbox.json(),
        r#"{"enforced":["no_new_privs"],"landlock":null,"why":"this kernel has no Landlock"}"#
    );
    sandbox.why = None;
    sandbox.landlock = Some(Enforced {
        abi: 4,
        reads: true,
        changes: true,
        grants: vec![
            ("/run/lazycam".into(), AccessFs::ReadFile.into()),
            ("/run".into(), AccessFs::RemoveFile.into()),
        ],
        ports: Ports::default(),
    });
    assert_eq!(
        sandbox.to_string(),
        "no_new_privs, reads, changes, tcp; Landlock ABI 4; reads below /run/lazycam; removes its socket below /run"
    );
    assert_eq!(
        sandbox.json(),
        r#"{"enforced":["no_new_privs","reads","changes","tcp"],"landlock":4,"why":null}"#
    );
    let it = sandbox.landlock.as_mut().unwrap();
    it.abi = 10;
    it.grants = vec![("/run/manager".into(), AccessFs::ResolveUnix.into())];
    assert_eq!(
        sandbox.to_string(),
        "no_new_privs, reads, changes, tcp, signals, abstract_sockets, unix_sockets, udp; \
         Landlock ABI 10; notifies /run/manager"
    );
}
