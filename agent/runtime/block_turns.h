// BlockTurns: the one wish for package topics that a device has on the wire. The link wants one group of
// blocks at a time (docs/reference/topics.md); several models may be in transfer. So they take turns: a turn
// ends when a group is complete, when the model is done or has to ask anew, and after kSliceNs when others
// wait; the next in the order of the models has it then. Who waits loses nothing: its clock of patience
// stands still, and blocks that come late are still its own. Not thread-safe. No heap.
#pragma once

#include <array>
#include <optional>

#include "agent/store/boot_layout.h"
#include "agent/telemetry/topics.h"
#include "agent/telemetry/transport.h"
#include "agent/update/transport.h"

namespace dipper::runtime {

class BlockTurns {
 public:
  /// A broker that answers no subscription for so long is as good as silent.
  static constexpr int64_t kAnswerNs = 60'000'000'000;
  /// The longest turn while another model waits.
  static constexpr int64_t kSliceNs = 20'000'000'000;

  /// Both outlive this.
  BlockTurns(std::string_view fleet, telemetry::Transport& transport);

  /// Where model number `model` of the agent's list says what it wants; below store::kMaxModels.
  update::BlockTransport& Of(uint32_t model) { return lanes_[model]; }

  /// Asks the broker again: a new connection, or the one before did not take it.
  void OnConnected() { subscribe_due_ = true; }
  /// Every event of the wire: until the broker has answered a subscription, nobody's silence counts.
  void OnEvent(const telemetry::TransportEvent& event);
  /// Ends a turn that is over; subscribes what is due. Call with every turn of the loop.
  void Poll(int64_t now_ns);
  /// Who asked for this package; its blocks belong there, whoever's turn it is. None: nobody.
  std::optional<uint32_t> WhoWants(const base::Digest& package) const;

 private:
  static constexpr uint32_t kNobody = UINT32_MAX;

  class Lane final : public update::BlockTransport {
   public:
    void Join(BlockTurns& turns, uint32_t model) {
      turns_ = &turns;
      model_ = model;
    }
    void WantManifest(const base::Digest& package) override;
    void WantGroup(const base::Digest& package, uint32_t group) override;
    void WantBlock(const base::Digest& package, uint32_t index) override;
    void Done(const base::Digest& package) override;
    bool HasTurn() const override { return turns_->holder_ == model_ && turns_->InForce(); }

    telemetry::Topic wish;  ///< Empty: nothing is wanted.
    base::Digest package;

   private:
    void Want(const base::Digest& wanted, const telemetry::Topic& topic);
    BlockTurns* turns_ = nullptr;
    uint32_t model_ = 0;
  };

  void OnWish(uint32_t model);
  void OnDone(uint32_t model);
  bool OthersWait() const;
  bool InForce() const;
  void PassOn();
  void Give(uint32_t model);
  void Subscribe();
  void Unsubscribe();

  std::string_view fleet_;
  telemetry::Transport& transport_;
  std::array<Lane, store::kMaxModels> lanes_;
  uint32_t holder_ = kNobody;
  telemetry::Topic wanted_;  ///< On the wire now, or due there; empty: nothing.
  bool subscribe_due_ = false;
  uint32_t unanswered_ = 0;  ///< Requests for package topics that the broker has not answered.
  int64_t asked_ns_ = 0;     ///< The last one of them.
  int64_t now_ns_ = 0;
  int64_t since_ns_ = 0;  ///< Of this turn.
};

}  // namespace dipper::runtime
