#include "worker/comm/gloo_collective.h"

// The only file that sees Gloo: the headers are Debian's, older than the Gloo inside libtorch, and may only be used to
// name its types.
#include <exception>
#include <torch/csrc/distributed/c10d/ProcessGroupGloo.hpp>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/failure_cause.h"
#include "worker/comm/c10d_collective.h"
#include "worker/comm/store_adapter.h"
#include "worker/nn/torch_error.h"

namespace ursa {

absl::StatusOr<std::unique_ptr<Collective>> MakeGlooCollective(std::shared_ptr<RendezvousStore> store,
                                                               const GlooOptions& options) {
  if (options.world_size < 1 || options.rank < 0 || options.rank >= options.world_size) {
    return absl::InvalidArgumentError(
        absl::StrCat("gloo: rank must be in 0..world_size-1, it is ", options.rank, " of ", options.world_size));
  }
  const std::string who =
      absl::StrCat("gloo: rank ", options.rank, " of ", options.world_size, " at ", options.address);
  try {
    // Peers may take long over a collective, but not over coming: connecting has a timeout of its own.
    const auto connect_timeout = absl::ToChronoMilliseconds(options.connect_timeout);
    auto gloo_options = c10d::ProcessGroupGloo::Options::create(connect_timeout);
    gloo_options->devices.push_back(c10d::ProcessGroupGloo::createDeviceForHostname(options.address));
    gloo_options->threads = 1;
    auto adapter = c10::make_intrusive<StoreAdapter>(std::move(store), connect_timeout);
    auto gloo = c10::make_intrusive<c10d::ProcessGroupGloo>(std::move(adapter), options.rank, options.world_size,
                                                            std::move(gloo_options));
    gloo->setTimeout(absl::ToChronoMilliseconds(options.timeout));
    return std::unique_ptr<Collective>(
        std::make_unique<C10dCollective>(c10::intrusive_ptr<c10d::Backend>(std::move(gloo)), at::Device(at::kCPU)));
  } catch (const std::exception& e) {
    return WithCause(absl::UnavailableError(absl::StrCat(who, ": ", TorchErrorText(e))), FailureCause::kPeerLost);
  }
}

}  // namespace ursa
