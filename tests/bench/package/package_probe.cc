// One step of installing a package, alone, for package_cost to count its instructions: what `load` costs is
// subtracted from `verify`, what `verify` costs from `decode`, and what `device` costs (an updater that has
// started without a model) from `install`.
//
// usage: package_probe load|verify|decode|device|install PACKAGE ROOT [GROUP_KEY]
#include <string_view>

#include "tests/bench/package/install_device.h"

int main(int argc, char** argv) {
  const std::string_view step = argc > 1 ? argv[1] : "";
  const bool on_device = step == "device" || step == "install";
  if (argc < 4 || argc > 5 || (!on_device && step != "load" && step != "verify" && step != "decode")) {
    std::fputs("usage: package_probe load|verify|decode|device|install PACKAGE ROOT [GROUP_KEY]\n", stderr);
    return 2;
  }
  if (on_device) {
    dipper::bench::InstallDevice device(argv[2], argv[3], argc > 4 ? argv[4] : nullptr);
    return step == "device" || device.Install() ? 0 : 1;
  }
  dipper::bench::PackageInput input(argv[2], argv[3], argc > 4 ? argv[4] : nullptr);
  if (step != "load" && !input.Verify()) return 1;
  if (step == "decode" && !input.Decode()) return 1;
  return 0;
}
