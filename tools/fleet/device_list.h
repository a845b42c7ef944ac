// The list of devices: CSV with a header. Errors are lab::Error. Thread-safe: pure functions.
#pragma once

#include <string>
#include <vector>

#include "tools/fleet/fleet_folder.h"

namespace dipper::fleet {

/// Columns: `device` (required), `groups`, `model`, `hardware`, in any order; several groups or models in one
/// cell are separated by blanks or ';'. Every mistake of the whole file is found.
/// Throws: 3 no such file; 2 with a line for each mistake, "FILE:LINE: column NAME: what, why".
std::vector<DeviceRow> ReadDeviceList(const std::string& path);

/// What is wrong with a row given by hand; empty: nothing.
std::vector<std::string> CheckDeviceRow(const DeviceRow& row);

/// The words of a cell.
std::vector<std::string> SplitCell(std::string_view cell);

}  // namespace dipper::fleet
