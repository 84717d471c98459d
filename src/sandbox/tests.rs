use super::*;

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
        grants: vec![("/run/lazycam".into(), AccessFs::ReadFile.into())],
        ports: Ports::default(),
    });
    assert_eq!(
        sandbox.to_string(),
        "no_new_privs, reads, changes, tcp; Landlock ABI 4; reads below /run/lazycam"
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
