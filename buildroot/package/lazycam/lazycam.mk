################################################################################
#
# lazycam
#
################################################################################

# The commit of the repository that this tree is a folder of. By git and not as
# local files, because only what is downloaded has its crates put beside it.
LAZYCAM_VERSION = $(shell git -C $(BR2_EXTERNAL_LAZYCAM_PATH)/.. rev-parse HEAD)
LAZYCAM_SITE = file://$(realpath $(BR2_EXTERNAL_LAZYCAM_PATH)/..)
LAZYCAM_SITE_METHOD = git
# The commit is its own checksum, and Cargo.lock has those of the crates.
BR_NO_CHECK_HASH_FOR += $(LAZYCAM_SOURCE)
LAZYCAM_LICENSE = MIT
LAZYCAM_LICENSE_FILES = LICENSE

LAZYCAM_FEATURES =

ifeq ($(BR2_PACKAGE_LAZYCAM_TURBOJPEG),y)
LAZYCAM_FEATURES += turbojpeg-system
LAZYCAM_DEPENDENCIES += jpeg host-pkgconf
endif

ifeq ($(BR2_PACKAGE_LAZYCAM_LIBCAMERA),y)
LAZYCAM_FEATURES += libcamera
LAZYCAM_DEPENDENCIES += libcamera host-clang host-pkgconf
# bindgen reads C++ headers by libclang, which knows neither the target's
# sysroot nor where its compiler has those of C++.
LAZYCAM_CARGO_ENV += \
	LIBCLANG_PATH=$(HOST_DIR)/lib \
	BINDGEN_EXTRA_CLANG_ARGS="--sysroot=$(STAGING_DIR) --gcc-install-dir=$$(dirname $$($(TARGET_CC) -print-libgcc-file-name))"
endif

LAZYCAM_CARGO_BUILD_OPTS = --features "$(LAZYCAM_FEATURES)"
LAZYCAM_CARGO_INSTALL_OPTS = --features "$(LAZYCAM_FEATURES)"

define LAZYCAM_USERS
	lazycam -1 lazycam -1 * /run/lazycam - video camera server
endef

define LAZYCAM_INSTALL_DEFAULTS
	$(INSTALL) -D -m 0644 $(@D)/systemd/lazycam.default \
		$(TARGET_DIR)/etc/default/lazycam
endef
LAZYCAM_POST_INSTALL_TARGET_HOOKS += LAZYCAM_INSTALL_DEFAULTS

LAZYCAM_CAMERA = $(call qstrip,$(BR2_PACKAGE_LAZYCAM_SOURCE))
ifneq ($(LAZYCAM_CAMERA),v4l2)
define LAZYCAM_SET_SOURCE
	$(SED) 's|^#LAZYCAM_SOURCE=.*|LAZYCAM_SOURCE=$(LAZYCAM_CAMERA)|' \
		$(TARGET_DIR)/etc/default/lazycam
endef
LAZYCAM_POST_INSTALL_TARGET_HOOKS += LAZYCAM_SET_SOURCE
endif

# What opens cameras is in the group video. udev gives them to it, but not the
# memory that libcamera wants; mdev gives it neither.
ifeq ($(BR2_ROOTFS_DEVICE_CREATION_DYNAMIC_MDEV),y)
define LAZYCAM_ADD_MDEV_RULES
	grep -q '^# lazycam:' $(TARGET_DIR)/etc/mdev.conf || \
		cat $(LAZYCAM_PKGDIR)/mdev.conf >>$(TARGET_DIR)/etc/mdev.conf
endef
LAZYCAM_TARGET_FINALIZE_HOOKS += LAZYCAM_ADD_MDEV_RULES
endif

ifeq ($(BR2_PACKAGE_LAZYCAM_LIBCAMERA)$(BR2_PACKAGE_HAS_UDEV),yy)
define LAZYCAM_INSTALL_UDEV_RULES
	$(INSTALL) -D -m 0644 $(LAZYCAM_PKGDIR)/60-lazycam.rules \
		$(TARGET_DIR)/lib/udev/rules.d/60-lazycam.rules
endef
LAZYCAM_POST_INSTALL_TARGET_HOOKS += LAZYCAM_INSTALL_UDEV_RULES
endif

# The socket listens, and the first connection starts the rest: the first
# camera there is, for one server or for one per connection.
define LAZYCAM_INSTALL_INIT_SYSTEMD
	$(foreach server,lazycam lazycam@,
		mkdir -p $(TARGET_DIR)/usr/lib/systemd/system/$(server).service.wants
		ln -sf ../lazycam-capture@.service \
			$(TARGET_DIR)/usr/lib/systemd/system/$(server).service.wants/lazycam-capture@camera.service
	)
	$(INSTALL) -m 0644 -t $(TARGET_DIR)/usr/lib/systemd/system \
		$(@D)/systemd/lazycam.socket \
		$(@D)/systemd/lazycam-local.socket \
		$(@D)/systemd/lazycam.service \
		$(@D)/systemd/lazycam@.service \
		$(@D)/systemd/lazycam-capture@.service \
		$(@D)/systemd/run-lazycam.mount
endef

define LAZYCAM_INSTALL_INIT_SYSV
	$(INSTALL) -D -m 0755 $(LAZYCAM_PKGDIR)/S50lazycam \
		$(TARGET_DIR)/etc/init.d/S50lazycam
endef

$(eval $(cargo-package))
