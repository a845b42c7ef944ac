// Turns and the subscription of whoever has one.
#include "agent/runtime/block_turns.h"

namespace dipper::runtime {

BlockTurns::BlockTurns(std::string_view fleet, telemetry::Transport& transport)
    : fleet_(fleet), transport_(transport) {
  for (uint32_t model = 0; model < lanes_.size(); ++model) lanes_[model].Join(*this, model);
}

void BlockTurns::Lane::WantManifest(const base::Digest& wanted) {
  Want(wanted, telemetry::ManifestTopic(turns_->fleet_, wanted));
}

void BlockTurns::Lane::WantGroup(const base::Digest& wanted, uint32_t group) {
  Want(wanted, telemetry::BlockGroupFilter(turns_->fleet_, wanted, group));
}

void BlockTurns::Lane::WantBlock(const base::Digest& wanted, uint32_t index) {
  Want(wanted, telemetry::BlockTopic(turns_->fleet_, wanted, index));
}

void BlockTurns::Lane::Want(const base::Digest& wanted, const telemetry::Topic& topic) {
  wish = topic;
  package = wanted;
  turns_->OnWish(model_);
}

void BlockTurns::Lane::Done(const base::Digest& of) {
  if (of != package) return;
  wish = {};
  package = {};
  turns_->OnDone(model_);
}

/// A new wish of the holder says that its group is complete or silent: both end a turn.
void BlockTurns::OnWish(uint32_t model) {
  if (holder_ == kNobody) {
    Give(model);
  } else if (holder_ == model) {
    if (OthersWait()) {
      PassOn();
    } else {
      Give(model);
    }
  }
}

void BlockTurns::OnDone(uint32_t model) {
  if (holder_ == model) PassOn();
}

bool BlockTurns::OthersWait() const {
  for (uint32_t model = 0; model < lanes_.size(); ++model) {
    if (model != holder_ && !lanes_[model].wish.empty()) return true;
  }
  return false;
}

/// The next one after the holder that wants something, the holder itself last.
void BlockTurns::PassOn() {
  const auto count = static_cast<uint32_t>(lanes_.size());
  for (uint32_t step = 1; step <= count; ++step) {
    const uint32_t model = (holder_ + step) % count;
    if (lanes_[model].wish.empty()) continue;
    Give(model);
    return;
  }
  Unsubscribe();
  holder_ = kNobody;
}

void BlockTurns::Give(uint32_t model) {
  Unsubscribe();
  holder_ = model;
  since_ns_ = now_ns_;
  wanted_ = lanes_[model].wish;
  Subscribe();
}

void BlockTurns::Subscribe() {
  subscribe_due_ = !Ok(transport_.Subscribe(wanted_.view(), telemetry::Qos::kAtLeastOnce));
  if (subscribe_due_) return;
  ++unanswered_;
  asked_ns_ = now_ns_;
}

void BlockTurns::Unsubscribe() {
  if (wanted_.empty()) return;
  // Without a connection there is nothing to end; what still comes is sorted out.
  if (Ok(transport_.Unsubscribe(wanted_.view()))) ++unanswered_;
  wanted_ = {};
  subscribe_due_ = false;
}

void BlockTurns::OnEvent(const telemetry::TransportEvent& event) {
  using Kind = telemetry::TransportEvent::Kind;
  if (event.kind == Kind::kConnected || event.kind == Kind::kDisconnected) unanswered_ = 0;
  if (event.kind == Kind::kDisconnected) subscribe_due_ = !wanted_.empty();
  const bool ours = event.kind == Kind::kSubscribed && event.topic.find("/pkg/") != std::string_view::npos;
  if (ours && unanswered_ > 0) --unanswered_;
}

bool BlockTurns::InForce() const {
  return transport_.connected() && !subscribe_due_ && (unanswered_ == 0 || now_ns_ - asked_ns_ >= kAnswerNs);
}

void BlockTurns::Poll(int64_t now_ns) {
  now_ns_ = now_ns;
  if (holder_ != kNobody && now_ns - since_ns_ >= kSliceNs && OthersWait()) PassOn();
  if (subscribe_due_ && !wanted_.empty() && transport_.connected()) Subscribe();
}

std::optional<uint32_t> BlockTurns::WhoWants(const base::Digest& package) const {
  for (uint32_t model = 0; model < lanes_.size(); ++model) {
    if (!lanes_[model].wish.empty() && lanes_[model].package == package) return model;
  }
  return std::nullopt;
}

}  // namespace dipper::runtime
