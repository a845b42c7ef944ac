"""The one error of tools/sbom: what happened, what to do, and the exit code (1 failure, 2 usage, 3 not found)."""


class Failure(Exception):
    def __init__(self, what, remedy, code=1):
        super().__init__(what)
        self.what = what
        self.remedy = remedy
        self.code = code
