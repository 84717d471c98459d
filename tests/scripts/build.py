#!/usr/bin/env python3
"""tests/scripts/build.py: what cross/build chooses for which target, and what it makes of what readelf and cargo say.

What not: a build; CI's step `cross` makes the files, and the steps behind it run them.
"""
import contextlib, importlib.machinery, importlib.util, io, sys, unittest
from pathlib import Path

sys.dont_write_bytecode = True
loader = importlib.machinery.SourceFileLoader("build", str(Path(__file__).resolve().parent.parent.parent / "cross/build"))
build = importlib.util.module_from_spec(importlib.util.spec_from_loader("build", loader))
# dataclasses look their module up.
sys.modules["build"] = build
loader.exec_module(build)


def chosen(name, libcamera=False, std=build.TARGETS):
    with contextlib.redirect_stderr(io.StringIO()):
        return build.choose(name, libcamera, lambda triple: triple in std)


class Choosing(unittest.TestCase):
    def test_each_name_stands_for_a_target_of_its_architecture(self):
        for names in (build.NAMES, build.LIBCAMERA_NAMES):
            for name, triples in names.items():
                for triple in triples:
                    self.assertEqual(build.TARGETS[triple].arch, name)
        self.assertEqual({target.arch for target in build.TARGETS.values()}, set(build.ARCHES))

    def test_a_triple_is_taken_as_it_is(self):
        for triple in build.TARGETS:
            self.assertEqual(chosen(triple, std=[]), triple)

    def test_armv7_is_musl_where_rust_has_it_and_glibc_elsewhere(self):
        self.assertEqual(chosen("armv7"), "armv7-unknown-linux-musleabihf")
        self.assertEqual(chosen("armv7", std=[]), "armv7-unknown-linux-gnueabihf")

    def test_with_libcamera_it_is_glibc_for_two_architectures(self):
        self.assertEqual(chosen("aarch64", libcamera=True), "aarch64-unknown-linux-gnu")
        self.assertEqual(chosen("armv7", libcamera=True), "armv7-unknown-linux-gnueabihf")
        for name in ("x86_64", "armv6", "aarch64-unknown-linux-musl"):
            with self.assertRaisesRegex(build.Failed, "libcamera"):
                chosen(name, libcamera=True)

    def test_an_unknown_target_is_told_with_those_that_are_known(self):
        with self.assertRaisesRegex(build.Failed, "unknown target mips; known: x86_64 aarch64 armv7 armv6"):
            chosen("mips")

    def test_what_links_glibc_links_it_statically_and_what_links_musl_needs_nothing(self):
        for triple, target in build.TARGETS.items():
            self.assertEqual(target.glibc, "-gnu" in triple)
            self.assertEqual(target.glibc, any("crt-static" in flag for flag in target.flags))
            self.assertEqual(target.linker == "rust-lld", not target.glibc)

    def test_two_variants_of_a_target_do_not_take_each_others_places(self):
        both = {triple for triples in build.NAMES.values() for triple in triples} & {triple for triples in build.LIBCAMERA_NAMES.values() for triple in triples}
        self.assertIn("armv7-unknown-linux-gnueabihf", both)
        folders = [build.built_in(Path("target"), libcamera) for libcamera in (False, True)]
        self.assertEqual(folders[0], Path("target"), "where packaging/deb looks")
        self.assertNotEqual(*folders)

    def test_flags_of_somebody_else_are_not_passed_on(self):
        for name in ("RUSTFLAGS", "CARGO_BUILD_TARGET", "CARGO_TARGET_X86_64_UNKNOWN_LINUX_MUSL_LINKER", "CFLAGS_armv7", "TURBOJPEG_SOURCE", "CXXFLAGS"):
            self.assertTrue(build.is_foreign(name), name)
        for name in ("CARGO_TARGET_DIR", "CARGO_HOME", "CARGO_PROFILE_RELEASE_LTO", "PATH", "CC"):
            self.assertFalse(build.is_foreign(name), name)

    def test_the_compiler_is_the_machines_own_for_itself_and_debians_for_others(self):
        self.assertEqual(build.compiler("x86_64", "x86_64"), ("gcc", "gcc libc6-dev"))
        self.assertEqual(build.compiler("x86_64", "aarch64"), ("x86_64-linux-gnu-gcc", "gcc-x86-64-linux-gnu libc6-dev-amd64-cross"))
        self.assertEqual(build.compiler("armv7", "x86_64"), ("arm-linux-gnueabihf-gcc", "gcc-arm-linux-gnueabihf libc6-dev-armhf-cross"))


class Checking(unittest.TestCase):
    STATIC = "  Type:   EXEC (Executable file)\n  Machine:                           AArch64\nThere is no dynamic section in this file.\n"

    def test_a_static_file_of_the_right_machine_is_good(self):
        self.assertEqual(build.kind(self.STATIC, "aarch64", True), "static")
        relocated = "  Type:   DYN (Position-Independent Executable file)\n  Machine: Advanced Micro Devices X86-64\n"
        self.assertEqual(build.kind(relocated, "x86_64", False), "static-pie")

    def test_what_asks_for_a_library_or_a_loader_is_not(self):
        for line in (" 0x1 (NEEDED)  Shared library: [libc.so.6]", "  INTERP  0x0002e0 0x00000000000002e0"):
            with self.assertRaises(build.Failed) as failed:
                build.kind(f"{self.STATIC}{line}\n", "aarch64", False)
            self.assertIn(line, str(failed.exception))

    def test_neither_is_one_for_another_machine(self):
        with self.assertRaisesRegex(build.Failed, "not for x86_64"):
            build.kind(self.STATIC, "x86_64", False)

    def test_nor_one_with_libcamera_and_a_dynamic_section(self):
        with self.assertRaisesRegex(build.Failed, "dynamic section"):
            build.kind("  Machine:  ARM\nDynamic section at offset 0x1000 contains 20 entries:\n", "armv7", True)

    def test_nothing_of_a_later_processor_is_in_a_file_for_armv6(self):
        good = "  Tag_CPU_arch: v6KZ\n  Tag_FP_arch: VFPv2\n  Tag_ARM_ISA_use: Yes\n  Tag_THUMB_ISA_use: Thumb-1\n"
        build.check_armv6(good)
        for bad in (good.replace("v6KZ", "v7"), good.replace("VFPv2", "VFPv3"), good.replace("Thumb-1", "Thumb-2"),
                    good + "  Tag_Advanced_SIMD_arch: NEONv1\n"):
            with self.assertRaises(build.Failed):
                build.check_armv6(bad)

    def test_sizes_are_held_to_a_limit_where_there_is_one(self):
        mib = 1 << 20
        self.assertIsNone(build.is_over("aarch64", False, 3 * mib // 2))
        self.assertEqual(build.is_over("aarch64", False, 3 * mib // 2 + 1), 3 * mib // 2)
        self.assertEqual(build.is_over("armv6", False, 2 * mib), 3 * mib // 2)
        self.assertEqual(build.is_over("armv7", True, 4 * mib), 7 * mib // 2)
        for arch in ("armv7", "x86_64"):
            self.assertIsNone(build.is_over(arch, False, 4 * mib))

    def test_another_crate_that_compiles_c_is_found(self):
        tree = "lazycam v0.1.0 (/lazycam)\nlibc v0.2.1\ncc v1.2.0\nccc v1\npkg-config v0.3 (*)\n\n"
        self.assertEqual(build.other_c_code(tree), ["cc", "pkg-config"])
        self.assertEqual(build.other_c_code("lazycam v0.1.0\nlibc v0.2.1\n"), [])


if __name__ == "__main__":
    unittest.main()
