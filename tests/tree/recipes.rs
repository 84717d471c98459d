//! What the recipes for images (`yocto/`, `buildroot/`, `packaging/`) say of this package, held against the package:
//! features, versions, crates, licence, units. That they also build takes others' trees: docs/images.md.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::Command;

use crate::common::Scratch;
use crate::common::process::has;

const CARGO: &str = include_str!("../../Cargo.toml");
const LOCK: &str = include_str!("../../Cargo.lock");
const YOCTO: &str = "yocto/meta-lazycam/recipes-multimedia/lazycam";
const CRATES: &str =
    include_str!("../../yocto/meta-lazycam/recipes-multimedia/lazycam/lazycam-crates.inc");
const MAKE: &str = include_str!("../../buildroot/package/lazycam/lazycam.mk");
const BUILDROOT: &str = "buildroot";
const CONTAINER: &str = include_str!("../../cross/container");
const BUILD: &str = include_str!("../../cross/build");

/// The recipe; its file's name has the version.
fn recipe() -> String {
    let path = format!("{YOCTO}/lazycam_{}.bb", env!("CARGO_PKG_VERSION"));
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// The features of Cargo.toml.
fn features() -> BTreeSet<&'static str> {
    let (_, rest) = CARGO.split_once("\n[features]\n").unwrap();
    let (section, _) = rest.split_once("\n[").unwrap();
    let lines = section
        .lines()
        .filter(|line| !line.starts_with(['#', ' ', ']']));
    lines
        .filter_map(|line| line.split_once(" = ").map(|(name, _)| name))
        .collect()
}

/// Name, version and checksum of the crates that the package needs.
fn locked() -> BTreeSet<(String, String, String)> {
    let value = |block: &str, key: &str| {
        let line = block
            .lines()
            .find_map(|line| line.strip_prefix(key)?.strip_prefix(" = "));
        line.map(|value| value.trim_matches('"').to_owned())
    };
    LOCK.split("[[package]]")
        .filter_map(|block| {
            Some((
                value(block, "name")?,
                value(block, "version")?,
                value(block, "checksum")?,
            ))
        })
        .collect()
}

#[test]
fn the_yocto_recipe_fetches_the_crates_of_the_lock_file() {
    let sums: BTreeSet<_> = CRATES
        .lines()
        .filter_map(|line| {
            let (crate_name, sum) = line
                .strip_prefix("SRC_URI[")?
                .split_once(".sha256sum] = ")?;
            Some((crate_name.to_owned(), sum.trim_matches('"').to_owned()))
        })
        .collect();
    let expected: BTreeSet<_> = locked()
        .into_iter()
        .map(|(name, version, sum)| (format!("{name}-{version}"), sum))
        .collect();
    assert!(expected.len() > 20);
    assert_eq!(sums, expected, "run yocto/update-crates");
    let fetched: BTreeSet<_> = CRATES
        .lines()
        .filter_map(|line| line.trim().strip_prefix("crate://crates.io/"))
        .map(|line| line.trim_end_matches(" \\").replace('/', "-"))
        .collect();
    let named = sums.into_iter().map(|(name, _)| name).collect();
    assert_eq!(fetched, named, "run yocto/update-crates");
}

#[test]
fn the_recipes_name_features_that_there_are() {
    let there = features();
    assert!(there.contains("libcamera"), "{there:?}");
    let recipe = recipe();
    let mut named: Vec<_> = recipe
        .lines()
        .filter_map(|line| {
            line.strip_prefix("PACKAGECONFIG[")?
                .split_once("--features ")
        })
        .map(|(_, rest)| rest.split(',').next().unwrap())
        .collect();
    named.extend(
        MAKE.lines()
            .filter_map(|line| line.strip_prefix("LAZYCAM_FEATURES += ")),
    );
    assert_eq!(named.len(), 4, "{named:?}");
    for feature in named {
        assert!(there.contains(feature), "no feature {feature}");
    }
}

/// `turbojpeg/pkg-config` would turn on the feature of that name as well, and with it the build that it was to replace.
#[test]
fn the_systems_libjpeg_turbo_is_asked_for_without_the_one_that_is_built() {
    let (_, line) = CARGO.split_once("\nturbojpeg-system = ").unwrap();
    let line = line.lines().next().unwrap();
    assert!(line.contains("\"turbojpeg?/pkg-config\""), "{line}");
    assert!(!line.contains("\"turbojpeg/"), "{line}");
}

/// A line of a configuration that sets something, or says that it is not set.
fn settings(text: &str) -> impl Iterator<Item = &str> {
    text.lines().filter(|line| {
        line.ends_with(" is not set") || line.contains('=') && !line.starts_with('#')
    })
}

/// Names and contents of the configurations for Buildroot.
fn defconfigs() -> Vec<(String, String)> {
    let configs = fs::read_dir(format!("{BUILDROOT}/configs")).unwrap();
    let paths = configs.map(|entry| entry.unwrap().path());
    paths
        .map(|path| {
            let name = path.file_name().unwrap().to_str().unwrap().to_owned();
            (name, fs::read_to_string(path).unwrap())
        })
        .collect()
}

#[test]
fn buildroots_configurations_turn_on_options_that_the_package_has() {
    let options = fs::read_to_string(format!("{BUILDROOT}/package/lazycam/Config.in")).unwrap();
    let options: BTreeSet<_> = options
        .lines()
        .filter_map(|line| line.strip_prefix("config "))
        .collect();
    for option in &options {
        let does = MAKE.contains(&format!("$({option})")) || *option == "BR2_PACKAGE_LAZYCAM";
        assert!(does, "{option} does nothing");
    }
    let fragment = fs::read_to_string(format!("{BUILDROOT}/lazycam.fragment")).unwrap();
    let mut configurations = defconfigs();
    assert!(configurations.len() >= 2);
    configurations.push(("lazycam.fragment".to_owned(), fragment));
    for (name, text) in configurations {
        assert!(text.contains("BR2_PACKAGE_LAZYCAM=y\n"), "{name}");
        // Without one of these, cameras are for root alone.
        assert!(
            text.contains("BR2_ROOTFS_DEVICE_CREATION_DYNAMIC_"),
            "{name}"
        );
        let ours = settings(&text).filter(|line| line.starts_with("BR2_PACKAGE_LAZYCAM"));
        for line in ours {
            let (option, _) = line.split_once('=').unwrap();
            assert!(options.contains(option), "{name}: no option {option}");
        }
    }
}

#[test]
fn buildroots_configurations_name_files_that_there_are() {
    let images = fs::read_to_string("docs/images.md").unwrap();
    for (name, text) in defconfigs() {
        assert!(name.starts_with("lazycam_") && name.ends_with("_defconfig"));
        assert!(images.contains(&name), "docs/images.md says nothing of it");
        let named = text.split("$(BR2_EXTERNAL_LAZYCAM_PATH)/").skip(1);
        let named: Vec<_> = named
            .map(|rest| rest.split([' ', '"']).next().unwrap())
            .collect();
        assert!(!named.is_empty(), "{name}");
        for file in named {
            let path = Path::new(BUILDROOT).join(file);
            assert!(path.is_file(), "{name}: no {}", path.display());
        }
    }
    for rest in MAKE.split("$(LAZYCAM_PKGDIR)/").skip(1) {
        let file = rest.split([' ', '\n']).next().unwrap();
        let path = Path::new(BUILDROOT).join("package/lazycam").join(file);
        assert!(path.is_file(), "no {}", path.display());
    }
}

/// Twice the same option in what is loaded together would be a matter of order.
#[test]
fn a_kernel_option_is_asked_for_once() {
    let common = fs::read_to_string(format!("{BUILDROOT}/board/usb-camera.fragment")).unwrap();
    for board in ["qemu-aarch64", "raspberrypi4-64"] {
        let own = fs::read_to_string(format!("{BUILDROOT}/board/{board}/linux.fragment")).unwrap();
        let mut seen = BTreeSet::new();
        for line in settings(&common).chain(settings(&own)) {
            let (option, value) = line.split_once('=').unwrap();
            assert!(option.starts_with("CONFIG_") && ["y", "m"].contains(&value));
            assert!(seen.insert(option), "{board}: {option} twice");
        }
        assert!(seen.contains("CONFIG_USB_VIDEO_CLASS"));
    }
}

#[test]
fn bbr_is_there_and_allowed_however_the_server_is_started() {
    for start in [
        "systemd/lazycam.socket",
        "buildroot/package/lazycam/S50lazycam",
        &format!("{YOCTO}/files/lazycam.init"),
    ] {
        let text = fs::read_to_string(start).unwrap();
        for step in [
            "modprobe -q tcp_bbr",
            "bbr\" >tcp_allowed_congestion_control",
        ] {
            assert!(text.contains(step), "{start}: no '{step}'");
        }
    }
    let kernel = fs::read_to_string(format!("{BUILDROOT}/board/usb-camera.fragment")).unwrap();
    assert!(settings(&kernel).any(|line| line == "CONFIG_TCP_CONG_BBR=y"));
    assert!(recipe().contains("\"kernel-module-tcp-bbr\""));
}

#[test]
fn frames_have_a_tmpfs_of_their_own_however_the_server_is_started() {
    let size = "mode=0755,nosuid,nodev,noexec,size=96M";
    let unit = fs::read_to_string("systemd/run-lazycam.mount").unwrap();
    assert!(unit.contains(&format!("\nOptions={size}\n")));
    for (start, step) in [
        ("systemd/lazycam.socket", "\nAfter=run-lazycam.mount\n"),
        ("systemd/lazycam.socket", "remount,huge=within_size"),
        (
            "systemd/lazycam-capture@.service",
            "\nAfter=run-lazycam.mount\n",
        ),
        ("buildroot/package/lazycam/S50lazycam", size),
        (&format!("{YOCTO}/files/lazycam.init"), size),
        ("buildroot/package/lazycam/S50lazycam", "huge=within_size"),
        (&format!("{YOCTO}/files/lazycam.init"), "huge=within_size"),
        ("docs/images.md", size),
    ] {
        let text = fs::read_to_string(start).unwrap();
        assert!(text.contains(step), "{start}: no '{step}'");
    }
}

/// Owner and mode of each kind of device are udev's business, or mdev's; what the units let through is named by its class.
#[test]
fn cameras_and_encoders_are_open_to_the_services_user_whatever_manages_devices() {
    let read =
        |path: &str| fs::read_to_string(path).unwrap_or_else(|error| panic!("{path}: {error}"));
    let mdev = read("buildroot/package/lazycam/mdev.conf");
    let udev = read("buildroot/package/lazycam/60-lazycam.rules");
    let unit = read("systemd/lazycam-capture@.service");
    let is_rule = |line: &&str| !line.is_empty() && !line.starts_with('#');
    let rules: Vec<_> = mdev.lines().filter(is_rule).collect();
    for rule in &rules {
        assert!(rule.ends_with("\troot:video 660"), "{rule}");
    }
    let name = |rule: &str| {
        rule.split_whitespace()
            .next()
            .unwrap_or_default()
            .to_owned()
    };
    let named: BTreeSet<_> = rules.iter().map(|rule| name(rule)).collect();
    let classes = unit.lines().filter_map(|line| {
        let class = line
            .strip_prefix("DeviceAllow=char-")?
            .strip_suffix(" rw")?;
        Some(match class {
            "video4linux" => vec!["video[0-9]+", "v4l-subdev[0-9]+"],
            "media" => vec!["media[0-9]+"],
            "dma_heap" => vec!["dma_heap/.*"],
            _ => panic!("no rules for {class}"),
        })
    });
    // Where there is no such heap libcamera takes this one, of the class `misc`, which no unit lets through.
    let expected = classes.flatten().chain(["udmabuf"]);
    assert_eq!(named, expected.map(str::to_owned).collect());
    // Of these, udev gives all but one to the group by itself.
    assert!(udev.contains("SUBSYSTEM==\"dma_heap\", GROUP=\"video\", MODE=\"0660\""));
    // The user is in that group. (start-stop-daemon takes all groups of a user.)
    assert!(unit.contains("\nSupplementaryGroups=video\n"));
    assert!(recipe().contains(" --groups video lazycam\""));
    assert!(MAKE.contains("\n\tlazycam -1 lazycam -1 * /run/lazycam - video "));
}

/// What stands between these lines in a recipe, as the shell gets it.
fn script(text: &str, begin: &str, end: &str, values: &[(&str, &str)]) -> String {
    let (_, rest) = text
        .split_once(begin)
        .unwrap_or_else(|| panic!("no {begin}"));
    let (script, _) = rest.split_once(end).unwrap();
    let filled = |text: String, (name, value): &(&str, &str)| text.replace(name, value);
    values.iter().fold(script.to_owned(), filled)
}

#[test]
fn the_rules_for_mdev_are_added_once_to_what_an_image_has_and_to_nothing_else() {
    let scratch = Scratch::new();
    let rules = fs::read_to_string("buildroot/package/lazycam/mdev.conf").unwrap();
    let recipe = recipe();
    assert!(
        recipe.contains("${S}/buildroot/package/lazycam/mdev.conf ${D}${datadir}/${BPN}/mdev.conf")
    );
    assert!(
        recipe.contains("\nRDEPENDS:${PN} += \"${MDEV}\"\n"),
        "which has the file there before"
    );
    let yocto = [
        ("${sysconfdir}", "/etc"),
        ("${datadir}", "/usr/share"),
        ("${BPN}", "lazycam"),
    ];
    let buildroot = [
        ("$(TARGET_DIR)", "$D"),
        ("$(LAZYCAM_PKGDIR)", "buildroot/package/lazycam"),
    ];
    for (name, script) in [
        (
            "yocto",
            script(&recipe, "pkg_postinst:${PN}() {\n", "\n}", &yocto),
        ),
        (
            "buildroot",
            script(
                MAKE,
                "define LAZYCAM_ADD_MDEV_RULES\n",
                "\nendef",
                &buildroot,
            ),
        ),
    ] {
        let root = scratch.join(name);
        let run = || {
            let status = Command::new("sh")
                .args(["-ec", &script])
                .env("D", &root)
                .status();
            assert!(status.unwrap().success(), "{name}: {script}");
        };
        fs::create_dir_all(root.join("etc")).unwrap();
        fs::create_dir_all(root.join("usr/share/lazycam")).unwrap();
        fs::write(root.join("usr/share/lazycam/mdev.conf"), &rules).unwrap();
        let file = root.join("etc/mdev.conf");
        if name == "yocto" {
            run();
            assert!(!file.exists(), "an image without mdev");
        }
        fs::write(&file, "null root:root 666\n").unwrap();
        for _ in 0..2 {
            run();
            let text = fs::read_to_string(&file).unwrap();
            assert_eq!(text, format!("null root:root 666\n{rules}"), "{name}");
        }
    }
}

#[test]
fn both_ways_to_cross_build_have_the_same_features() {
    let (_, container) = CONTAINER.split_once("\nFEATURES=").unwrap();
    let container = container.split_whitespace().next().unwrap();
    assert!(
        BUILD.contains(&format!("\nFEATURES = [\"{container}\"]\n")),
        "cross/container has {container}, cross/build something else"
    );
}

#[test]
fn the_licence_that_the_recipe_knows_is_the_one_that_is_there() {
    let recipe = recipe();
    let (_, sum) = recipe.split_once("file://LICENSE;md5=").unwrap();
    let (sum, _) = sum.split_once('"').unwrap();
    if has("md5sum") {
        let output = Command::new("md5sum").arg("LICENSE").output().unwrap();
        let real = String::from_utf8(output.stdout).unwrap();
        assert_eq!(real.split_whitespace().next(), Some(sum));
    }
    let layers = fs::read("yocto/meta-lazycam/COPYING.MIT").unwrap();
    assert_eq!(layers, fs::read("LICENSE").unwrap());
}

#[test]
fn the_debian_packages_version_is_the_packages() {
    let changelog = include_str!("../../packaging/debian/changelog");
    let newest = format!("lazycam ({}-", env!("CARGO_PKG_VERSION"));
    assert!(changelog.starts_with(&newest), "not {newest}");
}

#[test]
fn a_camera_that_was_disabled_stays_so_when_one_debian_package_replaces_the_other() {
    let scratch = Scratch::new();
    let root = scratch.path().display().to_string();
    let mut script = fs::read_to_string("packaging/debian/postinst").unwrap();
    for folder in ["/etc/systemd", "/var/lib/systemd", "/run/systemd"] {
        script = script.replace(folder, &format!("{root}{folder}"));
    }
    // What the helper leaves of a socket that it enables.
    let state = format!("{root}/var/lib/systemd/deb-systemd-helper-enabled");
    fs::create_dir_all(&state).unwrap();
    script = script
        .replace("systemd-sysusers ", ": ")
        .replace("deb-systemd-helper ", "helper ");
    let helper = format!("helper() {{ [ $1 != enable ] || : >{state}/$2.dsh-also; }}\n");
    let install = || {
        let status = Command::new("sh")
            .args([
                "-c",
                &format!("{helper}{script}"),
                "postinst",
                "configure",
                "",
            ])
            .status();
        assert!(status.unwrap().success());
    };
    let wants = scratch.join("etc/systemd/system/lazycam.service.wants");
    install();
    assert!(wants.join("lazycam-capture@camera.service").is_symlink());
    // As `systemctl disable` does.
    fs::remove_dir_all(&wants).unwrap();
    install();
    assert!(!wants.exists());
}

#[test]
fn the_recipes_install_units_that_there_are() {
    let units: BTreeSet<_> = MAKE
        .split_whitespace()
        .filter_map(|word| word.strip_prefix("$(@D)/systemd/"))
        .collect();
    let there: BTreeSet<_> = fs::read_dir("systemd")
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| !name.ends_with(".sysusers") && name != "examples")
        .collect();
    assert_eq!(units, there.iter().map(String::as_str).collect());
    for line in recipe()
        .lines()
        .filter(|line| line.starts_with("SYSTEMD_SERVICE"))
    {
        let unit = line.split('"').nth(1).unwrap();
        assert!(Path::new("systemd").join(unit).is_file(), "no unit {unit}");
    }
}
