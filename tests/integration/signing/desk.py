"""A desk to sign at: a folder with a spec, keys and a package, and the dipper command."""
import json
import os
import subprocess
import tempfile
import unittest

DIPPER = ""
FIRST_TIME = 1700000000
SPEC = """format = 1
model_id = "main"
task = "regression"
seed = 1
budget = "256KiB"
loss_bound = 5.0
[target]
kind = "feature_ahead"
feature = "temperature"
ahead = 1
[[feature]]
name = "temperature"
unit = "Cel"
type = "numeric"
[[stage]]
kind = "standard_scaler"
[learner]
kind = "rls"
"""
ROLES = ("root", "release", "rollout", "command")


class Desk(unittest.TestCase):
    """Each test class has one folder; `keys` are made in it as NAME.key and NAME.pub."""
    keys = ROLES + ("stranger",)

    @classmethod
    def setUpClass(cls):
        cls.folder = tempfile.TemporaryDirectory()
        cls.addClassCleanup(cls.folder.cleanup)
        cls.cwd = cls.folder.name
        cls.environment = dict(os.environ, SOURCE_DATE_EPOCH=str(FIRST_TIME))
        for name in ("DIPPER_PKCS11_PIN", "DIPPER_PKCS11_MODULE"):
            cls.environment.pop(name, None)
        cls.write("spec.toml", SPEC.encode())
        for name in cls.keys:
            cls.ok("key", "new", "--out", name + ".key")
            cls.write(name + ".pub", cls.shown("key", "show", name + ".key")["public_pem"].encode())

    @classmethod
    def path(cls, name):
        return os.path.join(cls.cwd, name)

    @classmethod
    def write(cls, name, data, mode=0o644):
        with open(cls.path(name), "wb") as out:
            out.write(data)
        os.chmod(cls.path(name), mode)

    @classmethod
    def read(cls, name):
        with open(cls.path(name), "rb") as source:
            return source.read()

    @classmethod
    def run_dipper(cls, *arguments, **environment):
        # Without a terminal, so that nobody is asked for a PIN.
        return subprocess.run([DIPPER, *arguments], cwd=cls.cwd, env=dict(cls.environment, **environment),
                              stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60, check=False,
                              start_new_session=True)

    @classmethod
    def ok(cls, *arguments, **environment):
        done = cls.run_dipper(*arguments, **environment)
        if done.returncode != 0:
            raise AssertionError(f"dipper {' '.join(arguments)}: exit {done.returncode}\n{done.stderr}")
        return done.stdout + done.stderr

    @classmethod
    def shown(cls, *arguments, **environment):
        done = cls.run_dipper(*arguments, "--json", **environment)
        if not done.stdout:
            raise AssertionError(f"dipper {' '.join(arguments)}: exit {done.returncode}\n{done.stderr}")
        return json.loads(done.stdout)

    def refused(self, code, text, *arguments, **environment):
        """The command ends with `code` and a message that holds `text`."""
        done = self.run_dipper(*arguments, **environment)
        self.assertEqual(done.returncode, code, done.stdout + done.stderr)
        self.assertIn(text, done.stderr)
        return done

    @classmethod
    def new_root(cls, out, root=("root.key",), release="release.key", rollout="rollout.key", command="command.key",
                 more=()):
        keys = [part for key in root for part in ("--root-key", key)]
        return cls.ok("root", "new", *keys, "--release-key", release, "--rollout-key", rollout, "--command-key",
                      command, *more, "--out", out)

    @classmethod
    def build(cls, out, *more):
        return cls.ok("package", "build", "--spec", "spec.toml", "--fresh", "--name", "motes", "--version", "1.0",
                      "--security-version", "3", "--out", out, *more)

    def sign_everything(self, key, root, **environment):
        """Package, offer and command by one key that has these roles in `root`."""
        self.build("signed.dpkg")
        self.ok("package", "sign", "signed.dpkg", "--key", key, **environment)
        verdict = self.shown("package", "verify", "signed.dpkg", "--root", root)
        self.assertTrue(verdict["verified"], verdict)
        self.ok("publish", "signed.dpkg", "--root", root, "--to", "fleet", "--rollout-key", key, "--offer-out",
                "offer.bin", "--fleet", "demo", **environment)
        self.ok("command", "undo", "--device", "mote-1", "--fleet", "demo", "--command-key", key, "--root", root,
                "--out", "command.bin", **environment)
        for name in ("offer.bin", "command.bin"):
            shown = self.shown("document", "show", name, "--root", root)
            self.assertEqual((shown["complete"], shown["signatures"]), (True, "1 of 1 signatures"), shown)
