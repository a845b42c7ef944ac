#!/usr/bin/env python3
"""Signing with keys in a PKCS #11 token: SoftHSM2, in a folder of its own. Skipped without it.

Usage: token_test.py PATH-TO-DIPPER
"""
import glob
import os
import shutil
import subprocess
import sys
import unittest

import desk

PIN = "4711-0815"
MODULES = ("/usr/lib/softhsm/libsofthsm2.so", "/usr/lib/*/softhsm/libsofthsm2.so", "/usr/lib64/pkcs11/libsofthsm2.so")


def module_path():
    return next((path for pattern in MODULES for path in sorted(glob.glob(pattern))), None)


def missing():
    if module_path() is None or shutil.which("softhsm2-util") is None:
        return "SoftHSM2 is not installed (tools/setup --tests)"
    return "pkcs11-tool is not installed (opensc; tools/setup --tests)" if shutil.which("pkcs11-tool") is None else None


class Token(desk.Desk):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        os.mkdir(cls.path("tokens"))
        cls.write("softhsm2.conf", f"directories.tokendir = {cls.path('tokens')}\nobjectstore.backend = file\n".encode())
        cls.environment["SOFTHSM2_CONF"] = cls.path("softhsm2.conf")
        cls.environment["DIPPER_PKCS11_MODULE"] = module_path()
        cls.write("pin", (PIN + "\n").encode(), 0o600)
        cls.token("dipper")
        cls.make_key("dipper", "release", "01")
        cls.make_key("dipper", "other", "02")
        cls.make_key("dipper", "big", "03", "EC:secp384r1")

    @classmethod
    def tool(cls, *arguments):
        done = subprocess.run(arguments, env=cls.environment, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise AssertionError(f"{arguments}: {done.stdout}{done.stderr}")

    @classmethod
    def token(cls, label):
        cls.tool("softhsm2-util", "--init-token", "--free", "--label", label, "--so-pin", "12345678", "--pin", PIN)

    @classmethod
    def make_key(cls, token, label, number, kind="EC:prime256v1"):
        cls.tool("pkcs11-tool", "--module", module_path(), "--token-label", token, "--login", "--pin", PIN,
                 "--keypairgen", "--key-type", kind, "--label", label, "--id", number)

    def uri(self, text="token=dipper;object=release", pin=True):
        return f"pkcs11:{text}" + (f"?pin-source=file:{self.path('pin')}" if pin else "")

    def sign_package(self, uri):
        self.build("t.dpkg")
        return "package", "sign", "t.dpkg", "--key", uri

    def test_a_token_signs_root_package_offer_and_command(self):
        uri = self.uri()
        self.new_root("t.dproot", root=(uri,), release=uri, rollout=uri, command=uri)
        self.sign_everything(uri, "t.dproot")
        # One key of the token in the root, another one signs: refused by whoever verifies.
        self.build("signed.dpkg")
        self.ok("package", "sign", "signed.dpkg", "--key", self.uri("token=dipper;object=other"))
        self.assertFalse(self.shown("package", "verify", "signed.dpkg", "--root", "t.dproot")["verified"])

    def test_a_token_and_a_file_sign_together(self):
        self.new_root("both.dproot", root=(self.uri(), "root.key"), more=("--root-threshold", "2"))
        self.assertIn("2 of 2", self.shown("root", "show", "both.dproot")["signatures"])

    def test_the_module_comes_from_the_uri_the_environment_or_p11_kit(self):
        by_uri = self.uri() + "&module-path=" + module_path()
        self.ok(*self.sign_package(by_uri), DIPPER_PKCS11_MODULE="")
        self.ok(*self.sign_package(self.uri()))
        self.refused(3, "cannot be loaded", *self.sign_package(self.uri() + "&module-path=/nowhere/x.so"))
        if glob.glob("/usr/share/p11-kit/modules/softhsm2.module"):
            self.ok(*self.sign_package(self.uri()), DIPPER_PKCS11_MODULE="")
        self.refused(2, "not absolute", *self.sign_package(self.uri() + "&module-path=x.so"))
        self.refused(3, "cannot be loaded", *self.sign_package(self.uri() + "&module-path=/etc/passwd"))

    def test_the_pin_comes_from_a_file_or_the_environment_never_from_the_command_line(self):
        self.ok(*self.sign_package(self.uri(pin=False)), DIPPER_PKCS11_PIN=PIN)
        done = self.refused(2, "does not belong on the command line",
                            *self.sign_package("pkcs11:token=dipper;object=release?pin-value=" + PIN))
        self.assertNotIn(PIN, done.stderr)
        self.refused(2, "none was given", *self.sign_package(self.uri(pin=False)))
        self.refused(3, "nowhere", *self.sign_package(self.uri(pin=False) + "?pin-source=file:/nowhere"))
        self.refused(2, "pin-source", *self.sign_package(self.uri(pin=False) + "?pin-source=carrier-pigeon"))
        self.write("empty", b"\n", 0o600)
        self.refused(1, "is empty", *self.sign_package(f"pkcs11:token=dipper;object=release?pin-source={self.path('empty')}"))
        self.write("open", PIN.encode(), 0o644)
        done = self.run_dipper(*self.sign_package(f"pkcs11:token=dipper;object=release?pin-source={self.path('open')}"))
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertIn("chmod 600", done.stderr)

    def test_a_wrong_pin_is_tried_once_and_changes_nothing(self):
        self.build("t.dpkg")
        before = self.read("t.dpkg")
        for pin in ("0000-0000", "1"):
            done = self.refused(1, "wrong PIN", "package", "sign", "t.dpkg", "--key", self.uri(pin=False),
                                DIPPER_PKCS11_PIN=pin)
            self.assertNotIn(pin + " ", done.stderr)
        self.assertEqual(self.read("t.dpkg"), before)
        self.ok(*self.sign_package(self.uri()))

    def test_what_is_not_there_is_said_with_what_is(self):
        self.refused(3, "'dipper' (serial ", *self.sign_package(self.uri("token=nobody;object=release")))
        self.refused(3, "'release'", *self.sign_package(self.uri("token=dipper;object=nobody")))
        self.refused(2, "matches 3 keys", *self.sign_package(self.uri("token=dipper")))
        self.refused(5, "not on P-256", *self.sign_package(self.uri("token=dipper;object=big")))
        self.refused(2, "no pkcs11: URI", *self.sign_package("pkcs11:token=%zz"))
        self.refused(2, "not known", *self.sign_package("pkcs11:tokne=dipper"))
        self.ok(*self.sign_package(self.uri("token=dipper;id=%01")))

    def test_two_tokens_of_one_name_are_told_apart(self):
        self.token("twin")
        self.token("twin")
        done = self.refused(2, "matches several tokens", *self.sign_package(self.uri("token=twin;object=release")))
        self.assertIn("serial", done.stderr)

    def test_the_public_half_needs_no_pin(self):
        shown = self.shown("key", "show", self.uri(pin=False))
        self.assertEqual(shown["kind"], "token")
        self.write("token.pub", shown["public_pem"].encode())
        self.assertEqual(self.shown("key", "show", "token.pub")["id"], shown["id"])
        self.ok(*self.sign_package(self.uri()))
        self.assertEqual(self.shown("package", "show", "t.dpkg")["signed_by"], [shown["id"]])


if __name__ == "__main__":
    desk.DIPPER = os.path.abspath(sys.argv.pop(1))
    if missing():
        print("skipped: " + missing())
        sys.exit(77)
    unittest.main()
