// InstallDevice: the real updater, store and trust over real partition files in a temporary folder, to
// install one package from memory until its trial begins, as often as wanted. Counts what reaches the
// partitions. For one thread; exits with a message where something fails that cannot, as programs for the
// desk may.
#pragma once

#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <optional>
#include <string>

#include "agent/update/updater.h"
#include "hal/linux/partition_file.h"
#include "tests/bench/package/package_input.h"

namespace dipper::bench {

/// Bytes and calls that reached a partition.
struct MediumCounts {
  uint64_t read = 0, written = 0, erased = 0, barriers = 0;

  MediumCounts operator-(const MediumCounts& before) const {
    return {read - before.read, written - before.written, erased - before.erased, barriers - before.barriers};
  }
  MediumCounts operator+(const MediumCounts& other) const {
    return {read + other.read, written + other.written, erased + other.erased, barriers + other.barriers};
  }
};

/// A partition file that counts. Erased bytes are not counted as written.
class CountingPartition final : public hal::Partition {
 public:
  base::Status Open(const std::string& path, uint64_t bytes) {
    return file_.Open({.path = path.c_str(), .create_bytes = bytes});
  }
  hal::Geometry geometry() const override { return file_.geometry(); }
  base::Status Read(uint64_t offset, base::MutableBytes to) override {
    counts.read += to.size();
    return file_.Read(offset, to);
  }
  base::Status Write(uint64_t offset, base::ByteView from) override {
    counts.written += from.size();
    return file_.Write(offset, from);
  }
  base::Status Erase(uint64_t offset, uint64_t length) override {
    counts.erased += length;
    return file_.Erase(offset, length);
  }
  base::Status Sync() override {
    ++counts.barriers;
    return file_.Sync();
  }

  MediumCounts counts;

 private:
  hal::PartitionFile file_;
};

class InstallDevice final : public update::BlockTransport, public update::UpdateObserver {
 public:
  /// A device without a model, past its healthy mark, with slots as agent-config.md has them for such an
  /// image: 1 MiB, or 16 MiB for 4 MiB of image. Paths as PackageInput's.
  InstallDevice(const char* package_path, const char* root_path, const char* key_path)
      : input_(package_path, root_path, key_path), first_(ImageBytes()), second_(ImageBytes()) {
    const uint64_t slot_bytes = ImageBytes() <= 128 * 1024 ? 1024 * 1024 : 16 * 1024 * 1024;
    Must(::mkdtemp(folder_.data()) != nullptr && base::Ok(boot_.Open(File("boot"), 64 * 1024)) &&
             base::Ok(a_.Open(File("a"), slot_bytes)) && base::Ok(b_.Open(File("b"), slot_bytes)),
         "no partition files in /tmp");
    roots_.emplace(boot_);
    counters_.emplace(boot_);
    trust_.emplace(*roots_, *counters_, clock_, 0);
    Must(base::Ok(trust_->Open(ReadFile(root_path))), "the root is none");
    update::UpdaterConfig config;
    package::PackageFacts facts;
    package::MemorySource source(input_.package);
    Must(package::VerifyWhole(source, nullptr, input_.whole.bytes(), &facts) == schema::Reason::None &&
             base::Ok(config.model_id.Assign(facts.manifest.model())) &&
             base::Ok(config.device_id.Assign("d")) && base::Ok(config.fleet.Assign("f")) &&
             base::Ok(config.hardware.Assign("any")),
         "not a package");
    config.agent_major = UINT16_MAX;
    config.max_image_bytes = ImageBytes();
    config.group_keys = &input_.keys;
    updater_.emplace(config,
                     update::UpdaterMemory{.first_image = first_.bytes().first(ImageBytes()),
                                           .second_image = second_.bytes().first(ImageBytes())},
                     update::UpdaterDeps{.store = {.boot = &boot_, .slot_a = &a_, .slot_b = &b_},
                                         .trust = &*trust_,
                                         .transport = this,
                                         .observer = this});
    Must(base::Ok(updater_->Start({})) && base::Ok(updater_->HealthyMark()), "the updater does not start");
  }
  InstallDevice(const InstallDevice&) = delete;
  InstallDevice& operator=(const InstallDevice&) = delete;
  ~InstallDevice() {
    for (const char* name : {"boot", "a", "b"}) ::unlink(File(name).c_str());
    ::rmdir(folder_.c_str());
  }

  /// From the operator's file to the trial's begin. False: it ended otherwise.
  bool Install() {
    package::MemorySource source(input_.package);
    const MediumCounts before = Slots();
    const MediumCounts boot_before = boot_.counts;
    if (updater_->BeginInstall(source) != schema::Reason::None) return false;
    while (updater_->installing()) Poll();
    copied = Slots() - before;
    while (updater_->state() == schema::UpdateState::Verifying) Poll();
    verified = Slots() - before - copied;
    while (updater_->state() == schema::UpdateState::Staged) Poll();
    begun = Slots() - before - copied - verified;
    boot = boot_.counts - boot_before;
    return updater_->state() == schema::UpdateState::Trial;
  }
  /// Ends the trial, so that the same package can be installed again.
  bool Drop() { return updater_->FallBack() == schema::Reason::None; }
  uint64_t package_bytes() const { return input_.package.size(); }

  /// Of the last Install, in the slots: head and blocks; verifying and the trial record; the trial's begin.
  /// And in `boot`, all of it.
  MediumCounts copied, verified, begun, boot;

  void WantManifest(const base::Digest&) override {}
  void WantGroup(const base::Digest&, uint32_t) override {}
  void Done(const base::Digest&) override {}
  void OnUpdateEvent(const update::UpdateEvent&) override {}
  void OnModelsChanged() override {}

 private:
  struct NoClock final : hal::Clock {
    int64_t MonotonicNs() override { return 0; }
    int64_t WallNs() override { return 0; }
    bool WallSynchronized() override { return false; }
  };

  static void Must(bool good, const char* what) {
    if (good) return;
    std::fprintf(stderr, "install device: %s\n", what);
    std::exit(5);
  }
  std::string File(const char* name) const { return folder_ + "/" + name; }
  uint64_t ImageBytes() const { return base::AlignUp(input_.image.size(), 16); }
  MediumCounts Slots() const { return a_.counts + b_.counts; }
  void Poll() { updater_->Poll(now_ns_ += 1'000'000); }

  PackageInput input_;
  AlignedMemory first_, second_;
  std::string folder_ = "/tmp/dipper-install-XXXXXX";
  CountingPartition boot_, a_, b_;
  NoClock clock_;
  std::optional<store::RootStore> roots_;
  std::optional<store::Counters> counters_;
  std::optional<update::Trust> trust_;
  std::optional<update::Updater> updater_;
  int64_t now_ns_ = 0;
};

}  // namespace dipper::bench
