#include "worker/agent/testing/fake_coordinator.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/digest.h"

namespace ursa {

using worker::v1::ConnectRequest;
using worker::v1::ConnectResponse;
using worker::v1::StoreRequest;

namespace {

absl::Status Away() { return absl::UnavailableError("fake coordinator: away"); }

}  // namespace

int64_t FakeCoordinator::Attach(StreamPort port) {
  absl::MutexLock lock(&mu_);
  if (away_ || !refusal_.ok()) {
    ++received_.num_refused;
    port.close(away_ ? Away() : refusal_);
    return 0;
  }
  const int64_t id = next_stream_id_++;
  streams_[id].port = std::move(port);
  return id;
}

void FakeCoordinator::Detach(int64_t stream_id) {
  absl::MutexLock lock(&mu_);
  streams_.erase(stream_id);
}

void FakeCoordinator::SendLocked(int64_t stream_id, ConnectResponse message) {
  const auto it = streams_.find(stream_id);
  if (it != streams_.end()) it->second.port.send(std::move(message));
}

void FakeCoordinator::OnRequest(int64_t stream_id, const ConnectRequest& request) {
  absl::MutexLock lock(&mu_);
  const auto it = streams_.find(stream_id);
  if (it == streams_.end()) return;
  if (!it->second.welcomed && !request.has_hello()) {
    const StreamPort port = it->second.port;
    streams_.erase(it);
    port.close(absl::InvalidArgumentError("fake coordinator: a message before hello"));
    return;
  }
  ConnectResponse response;
  if (request.has_hello()) {
    it->second.welcomed = true;
    received_.hellos.push_back(request.hello());
    incarnations_[stream_id] = request.hello().incarnation();
    response.mutable_welcome()->set_worker_id(request.hello().worker_id().empty() ? "w7" : request.hello().worker_id());
    response.mutable_welcome()->set_heartbeat_millis(50);
    response.mutable_welcome()->set_lease_millis(1000);
    SendLocked(stream_id, response);
    *response.mutable_desired() = desired_;
    SendLocked(stream_id, response);
  } else if (request.has_heartbeat() || request.ByteSizeLong() == 0) {
    ++received_.num_heartbeats;
    received_.last_heartbeat.assign(request.heartbeat().tasks().begin(), request.heartbeat().tasks().end());
  } else if (request.has_slots()) {
    received_.slots.push_back(request.slots());
  } else if (request.has_events()) {
    OnEvents(stream_id, request.events());
  } else if (request.has_rendezvous()) {
    OnRendezvous(stream_id, request.rendezvous());
  }
}

void FakeCoordinator::OnRendezvous(int64_t stream_id, const worker::v1::RendezvousRequest& request) {
  // It is carried out all the same, and nobody hears of it.
  if (std::exchange(lose_answer_, false)) BreakLocked(absl::UnavailableError("fake coordinator: broken"));
  received_.rendezvous.push_back(request);
  waiting_.push_back({stream_id, request});
  // One answer may allow another.
  for (bool again = true; again;) {
    again = false;
    for (auto waiting = waiting_.begin(); waiting != waiting_.end() && !again; ++waiting) {
      if (!AnswerRendezvous(*waiting)) continue;
      waiting_.erase(waiting);
      again = true;
    }
  }
}

void FakeCoordinator::OnEvents(int64_t stream_id, const worker::v1::TaskEvents& events) {
  if (!acknowledging_) return;
  int64_t& last = last_sequence_[incarnations_[stream_id]];
  if (events.sequence() <= last) {
    ++received_.num_repeated_messages;
  } else {
    last = events.sequence();
    received_.events.insert(received_.events.end(), events.events().begin(), events.events().end());
  }
  ConnectResponse response;
  response.mutable_ack()->set_sequence(last);
  SendLocked(stream_id, response);
}

bool FakeCoordinator::AnswerRendezvous(const Waiting& waiting) {
  const StoreRequest& request = waiting.request.request();
  auto name = [&](const std::string& key) {
    return absl::StrCat(waiting.request.task_id(), "/", waiting.request.epoch(), "/", key);
  };
  ConnectResponse message;
  message.mutable_rendezvous()->set_call_id(waiting.request.call_id());
  auto& response = *message.mutable_rendezvous()->mutable_response();
  const bool all_there = std::all_of(request.keys().begin(), request.keys().end(),
                                     [&](const std::string& key) { return store_.count(name(key)) > 0; });
  switch (request.operation()) {
    case StoreRequest::OPERATION_SET:
      store_[name(request.keys(0))] = request.value();
      break;
    case StoreRequest::OPERATION_GET:
    case StoreRequest::OPERATION_WAIT:
      if (!all_there) return false;
      response.set_found(true);
      response.set_value(store_[name(request.keys(0))]);
      break;
    case StoreRequest::OPERATION_ADD: {
      const auto [answer, is_new] = answers_.try_emplace({incarnations_[waiting.stream_id], waiting.request.call_id()});
      if (is_new) {
        std::string& value = store_[name(request.keys(0))];
        answer->second.set_number((value.empty() ? 0 : std::stoll(value)) + request.amount());
        value = absl::StrCat(answer->second.number());
      }
      response = answer->second;
      break;
    }
    case StoreRequest::OPERATION_CHECK:
      response.set_found(all_there);
      break;
    default:
      message.mutable_rendezvous()->set_error("fake coordinator: this operation is not for it");
  }
  SendLocked(waiting.stream_id, message);
  return true;
}

absl::StatusOr<std::vector<std::string>> FakeCoordinator::FindMissing(const std::vector<std::string>& hashes) {
  absl::MutexLock lock(&mu_);
  if (away_ || blobs_away_) return Away();
  std::vector<std::string> missing;
  for (const std::string& hash : hashes) {
    if (!IsDigestHex(hash)) return absl::InvalidArgumentError("fake coordinator: not a hash");
    if (received_.blobs.count(hash) == 0) missing.push_back(hash);
  }
  return missing;
}

absl::StatusOr<std::string> FakeCoordinator::Download(const std::string& hash, int64_t offset) {
  absl::MutexLock lock(&mu_);
  if (away_ || blobs_away_) return Away();
  if (!IsDigestHex(hash)) return absl::InvalidArgumentError("fake coordinator: not a hash");
  const auto it = received_.blobs.find(hash);
  if (it == received_.blobs.end()) return absl::NotFoundError(absl::StrCat("blob ", hash, ": not here"));
  if (offset > static_cast<int64_t>(it->second.size())) return absl::OutOfRangeError("fake coordinator: offset");
  ++received_.num_downloads[hash];
  std::string bytes = it->second.substr(offset);
  // The caller takes a short answer for a broken one.
  if (cut_download_ >= 0) bytes.resize(std::min<size_t>(bytes.size(), std::exchange(cut_download_, -1)));
  return bytes;
}

absl::StatusOr<int64_t> FakeCoordinator::UploadOffset(const std::string& hash) {
  absl::MutexLock lock(&mu_);
  if (away_ || blobs_away_) return Away();
  if (!IsDigestHex(hash)) return absl::InvalidArgumentError("fake coordinator: not a hash");
  if (received_.blobs.count(hash) > 0) return absl::AlreadyExistsError("fake coordinator: it is here");
  return unfinished_[hash].size();
}

absl::Status FakeCoordinator::Upload(const std::string& hash, int64_t size, int64_t offset, std::string_view data) {
  absl::MutexLock lock(&mu_);
  if (away_ || blobs_away_) return Away();
  std::string& bytes = unfinished_[hash];
  if (offset != static_cast<int64_t>(bytes.size())) return absl::OutOfRangeError("fake coordinator: offset");
  if (cut_upload_ >= 0) {
    bytes.append(data.substr(0, std::exchange(cut_upload_, -1)));
    return absl::UnavailableError("fake coordinator: the upload broke");
  }
  bytes.append(data);
  if (static_cast<int64_t>(bytes.size()) < size) return absl::OkStatus();
  const std::string whole = std::exchange(bytes, {});
  unfinished_.erase(hash);
  if (Sha256Hex(whole) != hash) return absl::DataLossError("fake coordinator: other bytes");
  received_.blobs[hash] = whole;
  return absl::OkStatus();
}

void FakeCoordinator::SetDesired(worker::v1::DesiredState desired) {
  absl::MutexLock lock(&mu_);
  desired_ = std::move(desired);
  ConnectResponse message;
  *message.mutable_desired() = desired_;
  for (const auto& [id, stream] : streams_) {
    if (stream.welcomed) stream.port.send(message);
  }
}

void FakeCoordinator::Push(const ConnectResponse& message) {
  absl::MutexLock lock(&mu_);
  for (const auto& [id, stream] : streams_) stream.port.send(message);
}

void FakeCoordinator::BreakLocked(const absl::Status& status) {
  for (const auto& [id, stream] : std::exchange(streams_, {})) stream.port.close(status);
  waiting_.clear();
}

void FakeCoordinator::BreakStreams() {
  absl::MutexLock lock(&mu_);
  BreakLocked(absl::UnavailableError("fake coordinator: broken"));
}

void FakeCoordinator::SetAway(bool away) {
  absl::MutexLock lock(&mu_);
  away_ = away;
  if (away) BreakLocked(Away());
}

void FakeCoordinator::SetBlobsAway(bool away) {
  absl::MutexLock lock(&mu_);
  blobs_away_ = away;
}

void FakeCoordinator::SetAcknowledging(bool acknowledging) {
  absl::MutexLock lock(&mu_);
  acknowledging_ = acknowledging;
}

void FakeCoordinator::RefuseStreams(const absl::Status& status) {
  absl::MutexLock lock(&mu_);
  refusal_ = status;
}

std::string FakeCoordinator::AddBlob(const std::string& bytes) {
  absl::MutexLock lock(&mu_);
  const std::string hash = Sha256Hex(bytes);
  received_.blobs[hash] = bytes;
  return hash;
}

void FakeCoordinator::CutDownloads(int64_t bytes) {
  absl::MutexLock lock(&mu_);
  cut_download_ = bytes;
}

void FakeCoordinator::CutUploads(int64_t bytes) {
  absl::MutexLock lock(&mu_);
  cut_upload_ = bytes;
}

void FakeCoordinator::LoseNextAnswer() {
  absl::MutexLock lock(&mu_);
  lose_answer_ = true;
}

FakeCoordinator::Received FakeCoordinator::received() const {
  absl::MutexLock lock(&mu_);
  return received_;
}

bool FakeCoordinator::WaitFor(const std::function<bool(const Received&)>& condition, absl::Duration limit) const {
  absl::MutexLock lock(&mu_);
  auto holds = [&]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_) { return condition(received_); };
  return mu_.AwaitWithTimeout(absl::Condition(&holds), limit);
}

}  // namespace ursa
