#!/usr/bin/env python3
"""Signing by several people in turn, rotation of roots, and signing with an external command.

Usage: signing_test.py PATH-TO-DIPPER
"""
import hashlib
import os
import shutil
import socket
import subprocess
import sys
import time
import unittest

import desk

OPENSSL = "command:{0}.pub:openssl dgst -sha256 -sign {0}.key"


class Threshold(desk.Desk):
    keys = desk.ROLES + ("alice", "bob", "carol", "stranger")

    def two_of_three(self, out, *more):
        return self.run_dipper("root", "new", "--root-key", "alice.key", "--root-key", "bob.pub", "--root-key",
                               "carol.pub", "--root-threshold", "2", "--release-key", "release.pub", "--rollout-key",
                               "rollout.pub", "--command-key", "command.pub", "--out", out, *more)

    def test_a_root_is_signed_one_signature_at_a_time(self):
        self.assertEqual(self.two_of_three("a.dproot").returncode, 5)
        self.assertFalse(os.path.exists(self.path("a.dproot")))
        done = self.two_of_three("a.dproot", "--draft")
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertIn("1 of 2 signatures (not yet: ", done.stderr)
        self.refused(5, "", "root", "show", "a.dproot")
        self.assertFalse(self.shown("root", "show", "a.dproot")["complete"])
        # A draft is no root for anything else.
        self.build("p.dpkg")
        self.refused(5, "not a trust root", "package", "verify", "p.dpkg", "--root", "a.dproot")
        before = self.read("a.dproot")
        self.refused(5, "is no root key", "root", "sign", "a.dproot", "--key", "stranger.key")
        self.refused(5, "is no root key", "root", "sign", "a.dproot", "--key", "release.key")
        self.refused(5, "is a public key", "root", "sign", "a.dproot", "--key", "bob.pub")
        self.assertEqual(self.read("a.dproot"), before)
        # The same signer again is no second signature.
        self.ok("root", "sign", "a.dproot", "--key", "alice.key")
        self.assertFalse(self.shown("root", "show", "a.dproot")["complete"])
        self.assertIn("2 of 2", self.ok("root", "sign", "a.dproot", "--key", "bob.key"))
        self.assertTrue(self.shown("root", "show", "a.dproot")["complete"])

    def test_copies_signed_on_two_machines_are_merged(self):
        self.assertEqual(self.two_of_three("m.dproot", "--draft").returncode, 0)
        self.ok("root", "sign", "m.dproot", "--key", "bob.key", "--out", "bob.dproot")
        self.ok("root", "sign", "m.dproot", "--key", "carol.key", "--out", "carol.dproot")
        self.ok("root", "merge", "bob.dproot", "carol.dproot", "--out", "merged.dproot")
        self.assertIn("3 of 2", self.shown("root", "show", "merged.dproot")["signatures"])
        self.assertEqual(self.two_of_three("other.dproot", "--draft", "--expires", "30").returncode, 0)
        self.refused(5, "not the same document", "root", "merge", "bob.dproot", "other.dproot")
        self.refused(5, "is no root, offer or command", "root", "merge", "bob.dproot", "alice.key")
        self.refused(3, "absent", "root", "merge", "bob.dproot", "absent")

    def test_a_next_root_needs_the_former_signers_too(self):
        self.new_root("v1.dproot", root=("alice.key",))
        self.refused(5, "0 of 1 signatures", "root", "next", "--from", "v1.dproot", "--root-key", "bob.key", "--out",
                     "v2.dproot")
        self.ok("root", "rotate", "--from", "v1.dproot", "--root-key", "bob.key", "--out", "v2.dproot", "--draft")
        self.assertTrue(self.shown("root", "show", "v2.dproot")["complete"])
        self.assertFalse(self.shown("root", "show", "v2.dproot", "--from", "v1.dproot")["complete"])
        self.refused(5, "give that with --root", "root", "sign", "v2.dproot", "--key", "alice.key")
        self.ok("root", "sign", "v2.dproot", "--key", "alice.key", "--root", "v1.dproot")
        self.assertTrue(self.shown("root", "show", "v2.dproot", "--from", "v1.dproot")["complete"])
        # Roles that are not named stay as they were.
        former, new = (self.shown("root", "show", name)["roles"] for name in ("v1.dproot", "v2.dproot"))
        self.assertEqual(former["release"], new["release"])
        self.assertNotEqual(former["root"], new["root"])
        self.refused(2, "never goes back", "root", "next", "--from", self.epoch_root("e.dproot"), "--rollout-epoch",
                     "1", "--sign-key", "root.key", "--out", "x.dproot")

    def epoch_root(self, out):
        self.new_root(out, more=("--rollout-epoch", "2", "--command-epoch", "3"))
        return out

    def test_numbers_begin_with_the_epoch_of_the_role(self):
        root = self.epoch_root("epoch.dproot")
        self.sign_everything_by_role(root)
        self.assertEqual(self.shown("document", "show", "o.bin")["epoch"], 2)
        self.assertEqual(self.shown("document", "show", "c.bin")["epoch"], 3)
        self.new_root("epoch0.dproot")
        self.refused(5, "later epoch", "command", "undo", "--device", "d", "--fleet", "demo", "--document", "c.bin",
                     "--root", "epoch0.dproot")

    def sign_everything_by_role(self, root):
        self.build("r.dpkg")
        self.ok("package", "sign", "r.dpkg", "--key", "release.key")
        self.ok("publish", "r.dpkg", "--root", root, "--to", "fleet", "--fleet", "demo", "--rollout-key",
                "rollout.key", "--offer-out", "o.bin")
        self.ok("command", "undo", "--device", "d", "--fleet", "demo", "--command-key", "command.key", "--root",
                root, "--out", "c.bin")

    def test_an_offer_is_signed_by_two_people(self):
        self.new_root("two.dproot", more=("--rollout-key", "alice.pub", "--rollout-threshold", "2"))
        self.build("t.dpkg")
        self.ok("package", "sign", "t.dpkg", "--key", "release.key")
        self.ok("publish", "t.dpkg", "--root", "two.dproot", "--to", "fleet", "--fleet", "demo", "--rollout-key",
                "rollout.key", "--offer-out", "two.bin")
        self.refused(5, "fewer signatures", "publish", "t.dpkg", "--root", "two.dproot", "--to", "fleet", "--fleet",
                     "demo", "--offer", "two.bin", "--broker", "mqtt://127.0.0.1:1")
        self.refused(5, "not of the role", "document", "sign", "two.bin", "--key", "bob.key", "--root", "two.dproot")
        self.assertIn("2 of 2", self.ok("document", "sign", "two.bin", "--key", "alice.key", "--root", "two.dproot"))
        self.assertTrue(self.shown("document", "show", "two.bin", "--root", "two.dproot")["complete"])
        # Complete: now only the broker is missing.
        self.refused(6, "", "publish", "t.dpkg", "--root", "two.dproot", "--to", "fleet", "--fleet", "demo", "--offer",
                     "two.bin", "--broker", "mqtt://127.0.0.1:1")


@unittest.skipUnless(shutil.which("mosquitto") and shutil.which("mosquitto_sub"), "Mosquitto is not installed")
class OnTheBroker(desk.Desk):
    """What was signed in turn is published and sent as it is."""
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            cls.port = probe.getsockname()[1]
        cls.write("broker.conf", f"listener {cls.port} 127.0.0.1\nallow_anonymous true\n".encode())
        broker = subprocess.Popen(["mosquitto", "-c", cls.path("broker.conf")], stderr=subprocess.DEVNULL)
        cls.addClassCleanup(broker.wait)
        cls.addClassCleanup(broker.terminate)
        cls.access = ("--broker", f"mqtt://127.0.0.1:{cls.port}", "--fleet", "demo")
        for _ in range(100):
            if subprocess.run(["mosquitto_pub", "-p", str(cls.port), "-h", "127.0.0.1", "-t", "x", "-n"],
                              stderr=subprocess.DEVNULL, check=False).returncode == 0:
                return
            time.sleep(0.05)
        raise AssertionError("the broker did not start")

    def retained(self, topic):
        done = subprocess.run(["mosquitto_sub", "-h", "127.0.0.1", "-p", str(self.port), "-t", topic, "-C", "1", "-N",
                               "-W", "10"], capture_output=True, check=True)
        return done.stdout

    def test_roots_are_published_in_turn(self):
        self.new_root("b1.dproot")
        self.ok("root", "next", "--from", "b1.dproot", "--sign-key", "root.key", "--command-epoch", "1", "--out",
                "b2.dproot")
        self.ok("root", "next", "--from", "b2.dproot", "--sign-key", "root.key", "--draft", "--root-key",
                "stranger.pub", "--out", "draft.dproot")
        self.refused(5, "is no successor", "root", "publish", "b2.dproot", "b1.dproot", *self.access)
        self.refused(5, "not a trust root", "root", "publish", "b2.dproot", "draft.dproot", *self.access)
        self.ok("root", "publish", "b1.dproot", "b2.dproot", *self.access)
        for version in (1, 2):
            self.assertEqual(self.retained(f"dipper/1/demo/root/{version}"), self.read(f"b{version}.dproot"))

    def test_a_signed_offer_is_published_as_it_is(self):
        self.new_root("o.dproot")
        self.build("o.dpkg")
        self.ok("package", "sign", "o.dpkg", "--key", "release.key")
        to = ("publish", "o.dpkg", "--root", "o.dproot", "--to", "device:mote-1")
        self.refused(2, "--rollout-key", *to, *self.access)
        self.refused(2, "--broker", *to, "--rollout-key", "rollout.key", "--fleet", "demo")
        self.ok(*to, "--offer-out", "unsigned.bin", "--fleet", "demo")
        self.refused(5, "no signature", *to, "--offer", "unsigned.bin", *self.access)
        self.refused(5, "devices would refuse", *to, "--rollout-key", "stranger.key", *self.access)
        self.refused(5, "later epoch", *to, "--rollout-key", "rollout.key", "--number", str(1 << 48), *self.access)
        self.ok("document", "sign", "unsigned.bin", "--key", "rollout.key", "--root", "o.dproot", "--out", "done.bin")
        self.ok(*to, "--offer", "done.bin", *self.access)
        self.assertIn(self.read("done.bin"), self.retained("dipper/1/demo/offer/mote-1/#"))
        self.build("other.dpkg", "--notes", "another one")
        self.ok("package", "sign", "other.dpkg", "--key", "release.key")
        self.refused(5, "offers package", "publish", "other.dpkg", "--root", "o.dproot", "--to", "device:mote-1",
                     "--offer", "done.bin", *self.access)


class ExternalCommand(desk.Desk):
    def test_openssl_signs_everything(self):
        key = OPENSSL.format("release")
        self.new_root("c.dproot", root=(OPENSSL.format("root"),), release=key, rollout=key, command=key)
        self.sign_everything(key, "c.dproot")

    def script(self, name, text):
        self.write(name, ("#!/bin/sh\n" + text).encode(), 0o755)
        return f"command:release.pub:./{name}"

    def sign(self, key):
        self.build("e.dpkg")
        return "package", "sign", "e.dpkg", "--key", key

    def test_every_documented_form_of_signature_is_read(self):
        sign = "openssl dgst -sha256 -sign release.key"
        forms = {
            "der.sh": sign,
            "der64.sh": sign + " | base64",
            "der64line.sh": sign + " | openssl base64 -A",
            "hex.sh": sign + " | od -An -v -tx1",
            "raw.sh": sign + " | openssl asn1parse -inform DER | sed -n 's/.*INTEGER *://p' | while read n; do"
                             " printf %064s $n | tr ' ' 0; done | xxd -r -p",
        }
        for name, text in forms.items():
            with self.subTest(name):
                if name == "raw.sh" and os.system("command -v xxd >/dev/null") != 0:
                    text = text.replace("xxd -r -p", "cat")  # r | s in hex
                self.ok(*self.sign(self.script(name, text + "\n")))

    def test_the_command_is_told_what_it_signs(self):
        key = self.script("told.sh", 'printf "%s %s %s\\n" "$DIPPER_SIGN_KIND" "$DIPPER_SIGN_SHA256" '
                                     '"$DIPPER_SIGN_KEY_ID" >told.txt\ntee in.bin | openssl dgst -sha256 -sign release.key\n')
        self.ok(*self.sign(key))
        kind, digest, key_id = self.read("told.txt").decode().split()
        stdin = self.read("in.bin")
        self.assertEqual((kind, digest), ("package", hashlib.sha256(stdin).hexdigest()))
        self.assertEqual(key_id, self.shown("key", "show", "release.pub")["id"])
        package = self.read("e.dpkg")
        self.assertEqual(stdin[:16], b"dipper/package/1")
        self.assertEqual(stdin[16:64], package[:48])
        self.assertEqual(stdin[64:], package[64:64 + len(stdin) - 64])

    def test_a_command_that_signs_digests(self):
        self.script("digest.sh", "openssl pkeyutl -sign -inkey release.key\n")
        self.ok(*self.sign("command-sha256:release.pub:./digest.sh"))

    def test_what_a_command_does_wrong_is_said_and_changes_nothing(self):
        wrong = {
            "fails.sh": ("echo no card >&2\nexit 3\n", 1, "exit status 3"),
            "dies.sh": ("kill -9 $$\n", 1, "failed (exit status 137)"),
            "silent.sh": ("cat >/dev/null\n", 1, "printed 0 bytes"),
            "talks.sh": ("echo signed, thank you\n", 1, "no signature"),
            "floods.sh": ("yes | head -c 100000\n", 1, "more than 4096 bytes"),
            "other.sh": ("openssl dgst -sha256 -sign stranger.key\n", 5, "another key"),
            "bytes.sh": ("echo else | openssl dgst -sha256 -sign release.key\n", 5, "other bytes"),
        }
        for name, (text, code, message) in wrong.items():
            with self.subTest(name):
                self.build("e.dpkg")
                before = self.read("e.dpkg")
                self.refused(code, message, "package", "sign", "e.dpkg", "--key", self.script(name, text))
                self.assertEqual(self.read("e.dpkg"), before)
        self.refused(1, "exit status 127", *self.sign("command:release.pub:no-such-program"))
        self.refused(2, "write it as", *self.sign("command:release.pub"))
        self.refused(2, "write it as", *self.sign("command::x"))
        self.refused(3, "absent.pub", *self.sign("command:absent.pub:x"))
        self.refused(5, "not a P-256 public key", *self.sign("command:spec.toml:x"))

    def test_keys_in_files_that_cannot_sign(self):
        os.system(f"cd {self.cwd} && openssl ec -in release.key -aes128 -passout pass:x -out locked.key 2>/dev/null")
        self.refused(5, "is encrypted", *self.sign("locked.key"))
        os.system(f"cd {self.cwd} && openssl ecparam -name secp384r1 -genkey -noout -out p384.key")
        self.refused(5, "P-256", *self.sign("p384.key"))
        self.refused(5, "is a public key", *self.sign("release.pub"))
        self.refused(3, "absent.key", *self.sign("absent.key"))


if __name__ == "__main__":
    desk.DIPPER = os.path.abspath(sys.argv.pop(1))
    unittest.main()
