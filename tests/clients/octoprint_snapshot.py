#!/usr/bin/env python3
"""tests/clients/octoprint_snapshot.py URL: OctoPrint's own code takes a snapshot for its timelapse.

What: the class that captures for OctoPrint's timelapses, with its plugin `classicwebcam` and that plugin's default settings, asks
  for /?action=snapshot, as OctoPrint's set-up assistant suggests, three times. Each must be a whole JPEG, and not all the
  same. From the camera that is not there, /gone/?action=snapshot, OctoPrint must get its own failure in time, not a picture.
Why: print farms run on this, and it reads the answer in its own way (chunks of 1 KiB, a time limit of 5 s).
What not: OctoPrint's server does not run: no settings, no events, no video made of the pictures.
OctoPrint comes from PyPI at the version that octoprint.txt names, with those packages only that this code imports; netifaces,
of which it uses nothing here and which would have to be compiled, is left out. Ends with 0, with 1 after saying what was
wrong, with 77 where there is no python3-venv.
"""

from shared import run_with_packages, script

CAPTURE = """
import importlib.metadata, logging, pathlib, sys, tempfile, time, types
from unittest import mock
sys.modules["netifaces"] = types.ModuleType("netifaces")
import octoprint.timelapse
from octoprint.plugins.classicwebcam import ClassicWebcamPlugin
logging.disable()

def camera(url):
    plugin = ClassicWebcamPlugin()
    values = {**plugin.get_settings_defaults(), "snapshot": url}
    get = lambda path: values[path[0]]
    plugin._settings = types.SimpleNamespace(get=get, get_int=get, get_boolean=get)
    plugin._logger = logging.getLogger()
    webcam = types.SimpleNamespace(providerPlugin=plugin, providerIdentifier="classicwebcam", config=mock.MagicMock())
    return types.SimpleNamespace(
        _webcam=webcam, _logger=plugin._logger, _pre_capture_hooks={}, _post_capture_hooks={}, _capture_errors=0, _capture_success=0)

with tempfile.TemporaryDirectory() as place, mock.patch("octoprint.timelapse.eventManager"):
    file, pictures = pathlib.Path(place, "capture.jpg"), []
    working, gone = camera(sys.argv[1] + "/?action=snapshot"), camera(sys.argv[1] + "/gone/?action=snapshot")
    for _ in range(3):
        octoprint.timelapse.Timelapse._perform_capture(working, str(file))
        assert working._capture_errors == 0, "OctoPrint counts a failure"
        pictures.append(file.read_bytes())
        assert pictures[-1][:3] == b"\\xff\\xd8\\xff" and pictures[-1][-2:] == b"\\xff\\xd9", "no whole JPEG"
        time.sleep(0.2)
    assert len(set(pictures)) > 1, "three times the same picture"
    failed = []
    octoprint.timelapse.Timelapse._perform_capture(gone, str(file), lambda: failed.append(True))
    assert failed and gone._capture_errors == 1, "OctoPrint takes a lost camera's answer for a picture"
version = importlib.metadata.version("OctoPrint")
print(f"octoprint {version}: {len(pictures)} snapshots of {len(pictures[-1])} bytes, a lost camera is a failure")
"""


def main(url):
    """Takes them."""
    print(run_with_packages("octoprint.txt", CAPTURE, url))


if __name__ == "__main__":
    script(main)
