#!/usr/bin/env python3
"""tests/scripts/shared.py: which libcamera cross/shared takes, what it makes of what readelf says, and what Cargo.toml says of the same.

What not: a build; `tests/image/run --libcamera` makes the package, installs it and uses it.
"""
import importlib.machinery, importlib.util, re, sys, tomllib, unittest
from pathlib import Path

sys.dont_write_bytecode = True
ROOT = Path(__file__).resolve().parent.parent.parent
sys.path.insert(0, str(ROOT / "cross"))
loader = importlib.machinery.SourceFileLoader("shared", str(ROOT / "cross/shared"))
shared = importlib.util.module_from_spec(importlib.util.spec_from_loader("shared", loader))
loader.exec_module(shared)


class Choosing(unittest.TestCase):
    def test_the_machines_own_libcamera_is_taken_if_it_can_be(self):
        for version in ("0.7.0", "0.7.2", "0.7"):
            self.assertIsNone(shared.suite(None, version))
        self.assertEqual(shared.suite(None, None), "trixie-backports")

    def test_a_suite_that_is_named_outranks_it(self):
        for version in ("0.7.2", "0.8.0", None):
            self.assertEqual(shared.suite("forky", version), "forky")

    def test_another_version_is_refused_with_what_can_be_done(self):
        for version in ("0.4.0", "0.6.0", "0.8.0", "0.70.1"):
            with self.assertRaisesRegex(shared.Failed, f"libcamera {re.escape(version)}, .*--suite trixie-backports"):
                shared.suite(None, version)

    def test_each_target_is_of_an_architecture_that_cross_build_knows(self):
        for arch, triple in shared.TRIPLES.items():
            self.assertIn(arch, shared.ARCHES)
            self.assertTrue(triple.startswith(f"{arch}-unknown-linux-gnu"))


class Checking(unittest.TestCase):
    FILE = ("  Machine:                           AArch64\n 0x01 (NEEDED)  Shared library: [libcamera.so.0.7]\n"
            " 0x01 (NEEDED)  Shared library: [libc.so.6]\n")

    def test_a_file_that_asks_for_libcamera_is_good(self):
        self.assertEqual(shared.linked(self.FILE, "aarch64"), "shared")

    def test_one_for_another_machine_is_not(self):
        with self.assertRaisesRegex(shared.Failed, "not for armv7"):
            shared.linked(self.FILE, "armv7")

    def test_nor_one_that_asks_for_another_version_or_for_none(self):
        for other, told in (("libcamera.so.0.8", "but for libcamera.so.0.8 libc.so.6"), ("libcamera-base.so.0.7", "does not ask for libcamera.so.0.7")):
            with self.assertRaisesRegex(shared.Failed, re.escape(told)):
                shared.linked(self.FILE.replace("libcamera.so.0.7", other), "aarch64")


class Package(unittest.TestCase):
    DEB = tomllib.loads((ROOT / "Cargo.toml").read_text())["package"]["metadata"]["deb"]
    VARIANT = DEB["variants"]["libcamera"]

    def test_its_ipa_modules_are_of_the_version_that_is_linked(self):
        major, minor = shared.VERSION.split(".")
        for bound in (f"libcamera-ipa (>= {shared.VERSION})", f"libcamera-ipa (<< {major}.{int(minor) + 1}~)", "$auto", self.DEB["depends"]):
            self.assertIn(bound, self.VARIANT["depends"].split(", "))

    def test_one_package_takes_the_place_of_the_other(self):
        for relation in ("provides", "conflicts", "replaces"):
            self.assertEqual(self.VARIANT[relation], "lazycam")

    def test_it_has_the_same_files_but_for_those_named_here(self):
        own = [source for source, *_ in self.VARIANT["merge-assets"]["append"] + self.VARIANT["merge-assets"]["by"]["src"]]
        self.assertEqual(own, ["systemd/examples/libcamera.conf", "packaging/debian/lintian-overrides"])
        self.assertFalse({"assets", "maintainer-scripts", "conf-files"} & set(self.VARIANT))
        for source in own:
            self.assertTrue((ROOT / source).is_file(), source)


if __name__ == "__main__":
    unittest.main()
