#include "client/lib/rpc.h"

#include <chrono>
#include <cstdlib>

#include "absl/strings/str_cat.h"
#include "absl/time/time.h"
#include "base/digest.h"

namespace ursa {
namespace {

// A deadline as gRPC wants it: by the wall's clock as it is now, which may have been set since this process began.
std::chrono::system_clock::time_point After(absl::Duration time) {
  return std::chrono::system_clock::now() + absl::ToChronoMilliseconds(time);
}

}  // namespace

Client::Rpc::Rpc(ClientOptions client_options, const std::shared_ptr<grpc::Channel>& shared_channel)
    : options(std::move(client_options)),
      channel(shared_channel),
      cluster(shared_channel),
      blobs(shared_channel),
      datasets(shared_channel),
      experiments(shared_channel),
      registry(shared_channel),
      evaluations(shared_channel),
      comparisons(shared_channel),
      predictions(shared_channel),
      next_seed_(std::strtoull(RandomHex(8).c_str(), nullptr, 16)) {}

std::unique_ptr<grpc::ClientContext> Client::Rpc::NewContext(bool is_stream) {
  auto context = std::make_unique<grpc::ClientContext>();
  if (!options.token.empty()) context->AddMetadata("authorization", "Bearer " + options.token);
  if (!is_stream) context->set_deadline(After(options.call_timeout));
  return context;
}

absl::Status Client::Rpc::ToStatus(const grpc::Status& status) {
  if (IsServerGone(status) && channel->GetState(false) != GRPC_CHANNEL_READY)
    return UnreachableError(options.server, status.error_message());
  return FromGrpcStatus(status);
}

Patience Client::Rpc::NewPatience(absl::Duration patience) { return Patience(patience, next_seed_++); }

bool Client::Rpc::WaitForNextTry(Patience* tries) {
  const absl::Time now = clock->Now();
  const std::optional<absl::Time> next = tries->NextTry(now);
  if (!next.has_value()) return false;
  // gRPC connects only while a thread waits inside it; otherwise it looks every 5 seconds.
  if (channel->GetState(/*try_to_connect=*/true) == GRPC_CHANNEL_READY) {
    clock->SleepUntil(*next);
  } else {
    channel->WaitForConnected(After(*next - now));
  }
  return true;
}

GrowingWait Client::Rpc::NewWait() { return GrowingWait(next_seed_++); }

std::string Client::Rpc::NewRequestId() { return RandomHex(16); }

}  // namespace ursa
