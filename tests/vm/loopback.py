"""A device of v4l2loopback, which exists before the program that writes into it: arm64 with the module as Debian has it, built for the kernel that is
booted, and loopback_writer.rs. Used by run. Not part of CI, whose arm64 system takes long enough.
"""
import json, shutil, subprocess, time, urllib.request

import module, rig
from rig import CACHE, FILE, PROGRAM, TARGET, Guest, Machine, Packages, Stream, check, eventually, number, say

DEVICE = "/dev/video40"
# What it needs, uvcvideo brings along.
MODULES = ["virtio_mmio", "virtio_net", "uvcvideo"]


class Tests(Guest):
    def camera(self):
        return json.loads(urllib.request.urlopen(self.machine.url + "/state", timeout=30).read())["result"]["lazycam"]["cameras"][0]

    def writes(self):
        self.machine.told(f"loopback_writer {DEVICE} >/run/writer.log 2>&1 & echo $! >/run/writer.pid")

    def ends(self):
        self.machine.told("kill $(cat /run/writer.pid)")

    def waits(self, exclusive):
        """With exclusive_caps=1 it is no camera before somebody writes, and without, it is one that gives no frames."""
        machine = self.machine
        machine.told(f"insmod /modules/v4l2loopback.ko devices=1 video_nr=40 exclusive_caps={exclusive} && sleep 1")
        self.start(f"--source v4l2:{DEVICE} --linger 1")
        check(not exclusive or "; waiting for it" in self.log(), f"it does not say that it waits:\n{self.log()}")
        viewer = Stream(machine.url, 60)
        while b"lazycam notice: " not in viewer.frame():
            pass
        why = self.camera()["why"]
        check(why, f"no reason is told: {self.camera()}")
        self.writes()
        numbers = [number(picture) for picture in viewer.frames(20)]
        check(numbers == sorted(set(numbers)), f"frames came twice or out of order: {numbers}")
        check(self.camera()["dropped"]["broken"] == 0, f"some were taken for broken: {self.camera()}")
        viewer.close()
        eventually("it is off", lambda: self.camera()["state"] == "off")
        viewer = Stream(machine.url, 60)
        viewer.frames(3)
        self.ends()
        eventually("it is lost", lambda: self.camera()["state"] == "lost")
        self.writes()
        while b"lazycam notice: " in viewer.frame():
            pass
        viewer.frames(3)
        viewer.close()
        self.stop()
        self.ends()
        eventually("it can go", lambda: machine.run("rmmod v4l2loopback")[0] == 0)
        say(f"exclusive_caps={exclusive}: it waits for who writes ({why}), frames {numbers[0]} to {numbers[-1]} come whole and in their order, and again with "
            "another writer")

    def all(self):
        for exclusive in (1, 0):
            self.waits(exclusive)


def run(binaries):
    binary, _ = rig.build("arm64", binaries, ("usb_camera", "loopback_writer"))
    (source,) = Packages("arm64").unpacked("v4l2loopback-dkms").glob("usr/src/v4l2loopback-*")
    built = module.build("v4l2loopback", source.glob("*.[ch]"))
    writer = TARGET / rig.ARCHES["arm64"]["triple"] / "release/examples/loopback_writer"
    files = {"bin/lazycam": (PROGRAM, binary.read_bytes()), "bin/loopback_writer": (PROGRAM, writer.read_bytes()),
             "modules/v4l2loopback.ko": (FILE, built)}
    return rig.run("loopback", lambda folder: Machine("arm64", folder, files, modules=MODULES), Tests, "lazycam", "writer")
