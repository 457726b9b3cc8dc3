#include "tools/bench/coordinator/load.h"

#include <grpcpp/generic/generic_stub.h>

#include <algorithm>
#include <atomic>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/clock.h"
#include "base/digest.h"
#include "base/log.h"

namespace ursa {
namespace {

class Loop {
 public:
  Loop(const StartCall& start, absl::Time begin, absl::Time end) : start_(start), begin_(begin), end_(end) {}

  void Run(int num_outstanding) {
    num_open_ = num_outstanding;
    for (int i = 0; i < num_outstanding; ++i) StartNext();
    absl::MutexLock lock(&mu_);
    auto all_ended = [this] { return num_open_ == 0; };
    mu_.Await(absl::Condition(&all_ended));
  }

  int64_t num_started() const { return next_; }
  LoadResult Result() {
    absl::MutexLock lock(&mu_);
    std::sort(latencies_.begin(), latencies_.end());
    LoadResult result;
    result.num_calls = static_cast<int64_t>(latencies_.size());
    result.seconds = absl::ToDoubleSeconds(end_ - begin_);
    if (latencies_.empty()) return result;
    result.p50_millis = latencies_[latencies_.size() / 2];
    result.p99_millis = latencies_[latencies_.size() * 99 / 100];
    return result;
  }

 private:
  void StartNext() {
    const absl::Time began = absl::Now();
    if (began >= end_) {
      absl::MutexLock lock(&mu_);
      --num_open_;
      return;
    }
    start_(next_.fetch_add(1), [this, began](const grpc::Status& status) {
      URSA_CHECK(status.ok()) << "a call failed: " << status.error_message();
      const absl::Time now = absl::Now();
      if (now >= begin_ && now < end_) {
        absl::MutexLock lock(&mu_);
        latencies_.push_back(absl::ToDoubleMilliseconds(now - began));
      }
      StartNext();
    });
  }

  const StartCall& start_;
  const absl::Time begin_;
  const absl::Time end_;
  std::atomic<int64_t> next_{0};
  absl::Mutex mu_;
  int num_open_ = 0;
  std::vector<double> latencies_;  // milliseconds
};

}  // namespace

LoadResult RunLoad(int num_outstanding, absl::Duration warm_up, absl::Duration duration, const StartCall& start,
                   int64_t* num_started) {
  const absl::Time begin = absl::Now() + warm_up;
  Loop loop(start, begin, begin + duration);
  loop.Run(num_outstanding);
  if (num_started != nullptr) *num_started = loop.num_started();
  return loop.Result();
}

std::vector<std::shared_ptr<grpc::Channel>> MakeChannels(const std::string& address, int count) {
  std::vector<std::shared_ptr<grpc::Channel>> channels;
  for (int i = 0; i < count; ++i) {
    grpc::ChannelArguments arguments;
    arguments.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);
    arguments.SetInt(GRPC_ARG_ENABLE_HTTP_PROXY, 0);
    channels.push_back(grpc::CreateCustomChannel(address, grpc::InsecureChannelCredentials(), arguments));
  }
  return channels;
}

Submitter::Submitter(const std::string& address, int num_channels, const std::string& token, v1::ExperimentSpec recipe)
    : token_("Bearer " + token), run_(RandomHex(4)), recipe_(std::move(recipe)) {
  for (const auto& channel : MakeChannels(address, num_channels)) {
    stubs_.push_back(v1::ExperimentService::NewStub(channel));
  }
}

StartCall Submitter::Start() {
  struct Call {
    grpc::ClientContext context;
    v1::CreateExperimentRequest request;
    v1::Experiment response;
  };
  return [this](int64_t number, std::function<void(const grpc::Status&)> done) {
    auto call = std::make_shared<Call>();
    call->context.AddMetadata("authorization", token_);
    call->request.set_request_id(absl::StrCat(run_, "-", number));
    *call->request.mutable_spec() = recipe_;
    auto& stub = stubs_[static_cast<size_t>(number) % stubs_.size()];
    stub->async()->CreateExperiment(&call->context, &call->request, &call->response,
                                    [call, done = std::move(done)](const grpc::Status& status) { done(status); });
  };
}

struct EtcdPutter::Impl {
  std::vector<std::unique_ptr<grpc::GenericStub>> stubs;
  std::string run = RandomHex(4);
  std::string value;
};

EtcdPutter::EtcdPutter(const std::string& address, int num_channels, std::string value)
    : impl_(std::make_unique<Impl>()) {
  impl_->value = std::move(value);
  for (const auto& channel : MakeChannels(address, num_channels)) {
    impl_->stubs.push_back(std::make_unique<grpc::GenericStub>(channel));
  }
}
EtcdPutter::~EtcdPutter() = default;

namespace {

// A protobuf field of bytes.
void AppendBytesField(int number, const std::string& bytes, std::string* out) {
  out->push_back(static_cast<char>(number << 3 | 2));
  for (size_t rest = bytes.size(); true; rest >>= 7) {
    if (rest < 128) {
      out->push_back(static_cast<char>(rest));
      break;
    }
    out->push_back(static_cast<char>((rest & 127) | 128));
  }
  out->append(bytes);
}

}  // namespace

StartCall EtcdPutter::Start() {
  struct Call {
    grpc::ClientContext context;
    grpc::ByteBuffer request;
    grpc::ByteBuffer response;
  };
  return [this](int64_t number, std::function<void(const grpc::Status&)> done) {
    auto call = std::make_shared<Call>();
    std::string put;
    AppendBytesField(1, absl::StrCat("experiment/", impl_->run, "/", number), &put);
    AppendBytesField(2, impl_->value, &put);
    const grpc::Slice slice(put);
    call->request = grpc::ByteBuffer(&slice, 1);
    impl_->stubs[static_cast<size_t>(number) % impl_->stubs.size()]->UnaryCall(
        &call->context, "/etcdserverpb.KV/Put", grpc::StubOptions(), &call->request, &call->response,
        [call, done = std::move(done)](const grpc::Status& status) { done(status); });
  };
}

}  // namespace ursa
