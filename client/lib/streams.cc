// Calls that stay open while an experiment runs: watching it, reading its logs. Each goes on where it was when the
// connection breaks.
#include <functional>

#include "absl/strings/str_cat.h"
#include "client/lib/client.h"
#include "client/lib/rpc.h"

namespace ursa {

absl::StatusOr<v1::Experiment> Client::WatchExperiment(const std::string& name,
                                                       const std::function<void(const v1::Experiment&)>& on_change) {
  v1::WatchExperimentRequest request;
  request.set_name(name);
  Patience tries = rpc_->NewPatience(rpc_->options.watch_patience);
  for (;;) {
    const auto context = rpc_->NewContext(/*is_stream=*/true);
    const auto reader = rpc_->experiments.WatchExperiment(context.get(), request);
    v1::Experiment now;
    while (reader->Read(&now)) {
      tries.Succeeded();
      if (on_change) on_change(now);
      if (HasEnded(now.state())) {
        context->TryCancel();
        reader->Finish();
        return now;
      }
    }
    const grpc::Status status = reader->Finish();
    // A server that stops in good order may end its streams with OK: the experiment has not ended by that.
    if (!status.ok() && !IsServerGone(status)) return rpc_->ToStatus(status);
    if (!rpc_->WaitForNextTry(&tries)) {
      if (status.ok()) return absl::UnavailableError(absl::StrCat(name, ": the server ends the watch again and again"));
      return rpc_->ToStatus(status);
    }
  }
}

absl::Status Client::ReadLogs(v1::ReadLogsRequest request,
                              const std::function<void(const v1::ReadLogsResponse&)>& on_lines) {
  const bool follow = request.follow();
  const bool is_limited = request.max_lines() > 0;
  Patience tries = rpc_->NewPatience(follow ? rpc_->options.watch_patience : rpc_->options.patience);
  for (;;) {
    const auto context = rpc_->NewContext(/*is_stream=*/true);
    const auto reader = rpc_->experiments.ReadLogs(context.get(), request);
    v1::ReadLogsResponse response;
    while (reader->Read(&response)) {
      tries.Succeeded();
      if (!response.page_token().empty()) request.set_page_token(response.page_token());
      if (request.max_lines() > 0) request.set_max_lines(request.max_lines() - response.lines_size());
      on_lines(response);
      if (is_limited && request.max_lines() <= 0) {
        context->TryCancel();
        reader->Finish();
        return absl::OkStatus();
      }
    }
    const grpc::Status status = reader->Finish();
    if (status.ok()) return absl::OkStatus();
    if (!IsServerGone(status) || !rpc_->WaitForNextTry(&tries)) return rpc_->ToStatus(status);
  }
}

}  // namespace ursa
