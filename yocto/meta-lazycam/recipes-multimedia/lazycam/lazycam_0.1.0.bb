SUMMARY = "MJPEG camera server that runs only while somebody looks"
DESCRIPTION = "Serves cameras over HTTP as streams and snapshots, with the URLs of mjpg-streamer and ustreamer. \
               systemd starts server and capture with the first viewer; both end when nobody was there for a while."
SECTION = "multimedia"
LICENSE = "MIT"
LIC_FILES_CHKSUM = "file://LICENSE;md5=c6e1e98009283a35e31baeafe134f720"
CVE_PRODUCT = "lazycam"

inherit cargo cargo-update-recipe-crates pkgconfig systemd update-rc.d useradd

require ${BPN}-crates.inc

# The repository that the layer is a folder of, as it is committed; or any other, with the revision that is wanted.
LAZYCAM_REPOSITORY ?= "git://${THISDIR}/../../../..;protocol=file"
LAZYCAM_BRANCH ?= "main"
SRC_URI += "${LAZYCAM_REPOSITORY};branch=${LAZYCAM_BRANCH};destsuffix=${BP}"
SRC_URI += "file://lazycam.init"
# The recipe is a part of what it builds, so it cannot name its own commit.
# nooelint: oelint.vars.autorev
SRCREV ?= "${AUTOREV}"

PACKAGECONFIG ??= "turbojpeg"
PACKAGECONFIG[turbojpeg] = "--features turbojpeg-system,,libjpeg-turbo"
# Needs Rust 1.87, multimedia-layer, and for a Raspberry Pi's cameras meta-raspberrypi.
PACKAGECONFIG[libcamera] = "--features libcamera,,libcamera clang-native"

# bitbake strips, and keeps what it stripped.
CARGO_BUILD_FLAGS += "--config profile.release.strip=false"

# For bindgen, which reads libcamera's headers by libclang.
export LIBCLANG_PATH = "${STAGING_LIBDIR_NATIVE}"
export BINDGEN_EXTRA_CLANG_ARGS = "${HOST_CC_ARCH}${TOOLCHAIN_OPTIONS} --target=${TARGET_SYS}"

SYSTEMD_SERVICE:${PN} = "lazycam.socket"
INITSCRIPT_NAME = "lazycam"
INITSCRIPT_PARAMS = "defaults 80 20"

USERADD_PACKAGES = "${PN}"
USERADD_PARAM:${PN} = "--system --no-create-home --home-dir /run/lazycam --shell /sbin/nologin --user-group --groups video lazycam"

do_install:append() {
    install -d ${D}${systemd_system_unitdir}
    install -m 0644 ${S}/systemd/*.socket ${S}/systemd/*.service ${S}/systemd/*.mount ${D}${systemd_system_unitdir}/
    # The first camera there is, started and stopped by the server, or by those for a connection each.
    for server in lazycam lazycam@; do
        install -d ${D}${systemd_system_unitdir}/$server.service.wants
        ln -sf ../lazycam-capture@.service ${D}${systemd_system_unitdir}/$server.service.wants/lazycam-capture@camera.service
    done

    install -D -m 0644 ${S}/systemd/lazycam.default ${D}${sysconfdir}/default/lazycam
    install -D -m 0755 ${UNPACKDIR}/lazycam.init ${D}${INIT_D_DIR}/lazycam
    install -D -m 0644 ${S}/buildroot/package/lazycam/mdev.conf ${D}${datadir}/${BPN}/mdev.conf
}

FILES:${PN} += "${systemd_system_unitdir}"

# BusyBox's mdev reads one file, which belongs to another package, and gives cameras and encoders to root alone.
MDEV = "${@'busybox-mdev' if d.getVar('VIRTUAL-RUNTIME_dev_manager') == 'busybox-mdev' else ''}"
RDEPENDS:${PN} += "${MDEV}"
pkg_postinst:${PN}() {
    conf="$D${sysconfdir}/mdev.conf"
    [ ! -f "$conf" ] || grep -q '^# lazycam:' "$conf" || cat "$D${datadir}/${BPN}/mdev.conf" >>"$conf"
}

# BBR, for lines that lose packets, where the kernel has it as a module.
RRECOMMENDS:${PN} += "kernel-module-tcp-bbr"
CONFFILES:${PN} = "${sysconfdir}/default/lazycam"
