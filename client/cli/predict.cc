// ursa predict.
#include <algorithm>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "base/file.h"
#include "base/status_macros.h"
#include "base/text.h"
#include "client/cli/command.h"
#include "client/cli/context.h"
#include "client/cli/proto_json.h"
#include "client/cli/table.h"
#include "experiments/resource_names.h"

namespace ursa::cli {
namespace {

constexpr int kPicturesPerCall = 64;            // PredictionService's limit
constexpr int64_t kPictureBytesMax = 64 << 20;  // the same
constexpr int64_t kCallBytesMax = 16 << 20;     // so that one call does not hold the server for long

// The likeliest classes first, at most three.
std::string TopClasses(const v1::Prediction& prediction) {
  std::vector<std::pair<double, std::string>> classes;
  for (const auto& [label, probability] : prediction.probabilities()) classes.emplace_back(-probability, label);
  std::sort(classes.begin(), classes.end());
  classes.resize(std::min<size_t>(classes.size(), 3));
  return absl::StrJoin(classes, ", ", [](std::string* out, const auto& entry) {
    absl::StrAppendFormat(out, "%s %.1f %%", entry.second, -100 * entry.first);
  });
}

absl::StatusOr<int> Predict(Context& context) {
  URSA_ASSIGN_OR_RETURN(const VersionRef model, ParseModelReference(context.arg(0)));
  URSA_ASSIGN_OR_RETURN(Client * client, context.Connect());
  std::vector<v1::Prediction> predictions;
  v1::PredictRequest request;
  request.set_model(ModelVersionName(model));
  int64_t request_bytes = 0;
  const auto send = [&]() -> absl::Status {
    URSA_ASSIGN_OR_RETURN(v1::PredictResponse answer, client->Predict(request));
    for (v1::Prediction& prediction : *answer.mutable_predictions()) predictions.push_back(std::move(prediction));
    request.clear_pictures();
    request_bytes = 0;
    return absl::OkStatus();
  };
  for (size_t i = 1; i < context.args().positional.size(); ++i) {
    URSA_ASSIGN_OR_RETURN(std::string bytes, ReadFile(context.arg(i)));
    const auto size = static_cast<int64_t>(bytes.size());
    if (size > kPictureBytesMax)
      return absl::InvalidArgumentError(
          absl::StrCat("file \"", context.arg(i), "\": has ", size, " bytes, a picture may have ", kPictureBytesMax));
    const bool full = request.pictures_size() == kPicturesPerCall || request_bytes + size > kCallBytesMax;
    if (request.pictures_size() > 0 && full) URSA_RETURN_IF_ERROR(send());
    v1::Picture* picture = request.add_pictures();
    picture->set_file(ToValidUtf8(context.arg(i)));
    *picture->mutable_data() = std::move(bytes);
    request_bytes += size;
  }
  URSA_RETURN_IF_ERROR(send());
  Json array = Json::Array();
  Table table({"file", "label", "version", "probabilities"});
  bool all_read = true;
  for (const v1::Prediction& prediction : predictions) {
    array.Append(ToJson(prediction));
    const bool read = prediction.error().empty();
    all_read = all_read && read;
    table.AddRow({prediction.file(), read ? prediction.label() : "-", absl::StrCat(prediction.model_version()),
                  read ? TopClasses(prediction) : prediction.error()});
  }
  context.out().PrintJson(Json::Object().Set("predictions", std::move(array)));
  context.out().Print(table.Render());
  if (!all_read) context.out().Warn("error: predict: not every picture could be read");
  return all_read ? kExitDone : kExitFailed;
}

}  // namespace

std::vector<Command> PredictCommands() {
  return {
      {"predict",
       "",
       {{"MODEL"}, {"FILE", Arity::kOneOrMore, /*is_path=*/true}},
       {},
       "classify pictures",
       "With the very transforms that the version was trained with. Pictures that cannot be read are told, and the\n"
       "exit status is 1.",
       "ursa predict bears:champion photo.jpg",
       true,
       &Predict}};
}

}  // namespace ursa::cli
