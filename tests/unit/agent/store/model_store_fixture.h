// A store over simulated partitions with packages to install. Not thread-safe.
#pragma once

#include <gtest/gtest.h>

#include <memory>

#include "agent/store/model_store.h"
#include "tests/fault/store/store_world.h"

namespace dipper::store {

class ModelStoreTest : public testing::Test {
 protected:
  StartDecision Start(const LastRun& last = {}) {
    world_.Restart(0);
    store_ = world_.NewStore();
    auto decision = store_->Start(last);
    EXPECT_TRUE(decision.ok());
    return decision.ok() ? *decision : StartDecision{};
  }
  void StartWithChampion(const Bytes& package) {
    Start();
    ASSERT_EQ(Install(*store_, package), base::Status::kOk);
  }
  LastRun Crashed(const Bytes& package) { return {true, DigestOf(package), schema::Reason::Crash}; }

  StoreWorld world_;
  std::unique_ptr<ModelStore> store_;
  const Bytes p1_ = MakePackage(1, 1);
  const Bytes p2_ = MakePackage(1, 2);
  const Bytes p3_ = MakePackage(2, 3);
  const Bytes factory_ = MakePackage(1, 4);
};

}  // namespace dipper::store
