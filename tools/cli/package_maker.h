// What `dipper package build` does: spec, image, self-test and policies to an unsigned package. Errors are
// lab::Error. Not thread-safe.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "agent/package/build.h"

namespace dipper::cli {

struct PackageOptions {
  std::string spec;
  std::string image;  ///< `.dimg` file of `dipper train`; empty with `fresh`.
  bool fresh = false;
  std::string snapshot;  ///< File of `dipper snapshot fetch`, instead of spec and image.
  /// Of an encrypted model's snapshot: its package and a group's private key.
  std::vector<std::string> snapshot_packages, group_keys;
  std::string name;
  std::string version;
  uint32_t security_version = 0;
  uint32_t release_epoch = 0;
  std::vector<std::string> hardware;
  std::string min_agent;

  std::string self_test;  ///< CSV file; empty: no self-test.
  uint32_t self_test_rows = 64;
  std::string label;  ///< Label column of the self-test data; empty: the spec's target name.

  std::string gate_kind = "paired_loss";
  double loss_bound = 0;  ///< 0: from the spec
  double margin = 0;
  double margin_ratio = 0;
  double alpha = 0.05;
  uint64_t warmup_samples = 0;
  uint32_t recent = 0;
  uint32_t horizon = 0;
  uint64_t deadline_samples = 100'000;
  uint64_t deadline_seconds = 604'800;
  std::string at_deadline = "fall_back";
  bool link_required = false;
  uint64_t max_latency_us = 0;
  double max_alarm_excess = -1;  ///< Below 0: kAlarmExcess where the spec has [anomaly], else 0.
  double max_score_shift = -1;   ///< Below 0: kInstalledShift where no losses are compared, else 0.
  bool start_from_champion = false;

  std::vector<std::string> encrypt_to;  ///< Public keys of device groups; none: not encrypted.

  std::string parent;  ///< Digest or package file.
  std::string data;    ///< Digest in hex or file; empty: what the image file says.
  std::string code;    ///< Digest in hex.
  std::string code_version;
  std::vector<std::string> metrics;  ///< name=value
  std::string notes;
  std::string out;
  bool force = false;
};

/// Builds the package. Throws Error: usage (2), not found (3), an image that does not belong to the spec (5).
package::Bytes MakePackage(const PackageOptions& options);

/// Steps made of the first rows of a CSV file, and the image's digest after them.
/// @param spec   Compiled spec.
/// @param image  The payload; a copy is run.
std::unique_ptr<schema::SelfTestT> MakeSelfTest(base::ByteView spec, base::ByteView image,
                                                const std::string& data, uint32_t rows,
                                                const std::string& label);

/// Runs a package's self-test on its decoded image. True: the digest is the declared one.
bool RunSelfTest(const package::Manifest& manifest, base::ByteView image);

/// Versions of the image layout that this program writes, and of its arithmetic.
void FillVersions(schema::ManifestT* manifest);

}  // namespace dipper::cli
