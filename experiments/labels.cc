#include "experiments/labels.h"

#include <algorithm>
#include <set>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "base/status_macros.h"
#include "experiments/resource_names.h"

namespace ursa {
namespace {

absl::Status CheckLabel(const v1::Label& label) {
  URSA_RETURN_IF_ERROR(CheckName("label", label.name()));
  const std::string& value = label.value();
  const bool is_good =
      !value.empty() && value.size() <= kNameLengthMax && absl::ascii_isalnum(static_cast<unsigned char>(value[0])) &&
      std::all_of(value.begin(), value.end(),
                  [](unsigned char c) { return absl::ascii_isalnum(c) || c == '.' || c == '_' || c == '-'; });
  if (is_good) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat("label \"", label.name(), "\": its value is \"", value,
                                                 "\", [A-Za-z0-9][A-Za-z0-9._-]{0,63} is allowed"));
}

}  // namespace

absl::StatusOr<v1::Label> ParseLabel(std::string_view text) {
  const size_t equals = text.find('=');
  if (equals == std::string_view::npos) {
    return absl::InvalidArgumentError(
        absl::StrCat("label \"", std::string(text), "\": has no value (hint: NAME=VALUE, as in gpu=h100)"));
  }
  v1::Label label;
  label.set_name(std::string(text.substr(0, equals)));
  label.set_value(std::string(text.substr(equals + 1)));
  URSA_RETURN_IF_ERROR(CheckLabel(label));
  return label;
}

std::string LabelText(const v1::Label& label) { return absl::StrCat(label.name(), "=", label.value()); }

absl::Status CheckLabels(const Labels& labels) {
  if (labels.size() > kLabelsMax) {
    return absl::InvalidArgumentError(
        absl::StrCat("labels: there are ", labels.size(), ", at most ", kLabelsMax, " are allowed"));
  }
  std::set<std::string> names;
  for (const v1::Label& label : labels) {
    URSA_RETURN_IF_ERROR(CheckLabel(label));
    if (!names.insert(label.name()).second) {
      return absl::InvalidArgumentError(absl::StrCat("label \"", label.name(), "\": is there twice"));
    }
  }
  return absl::OkStatus();
}

void SortLabels(Labels* labels) {
  std::sort(labels->begin(), labels->end(), [](const v1::Label& a, const v1::Label& b) { return a.name() < b.name(); });
}

std::vector<std::string> LabelTexts(const Labels& labels) {
  std::vector<std::string> texts;
  for (const v1::Label& label : labels) texts.push_back(LabelText(label));
  return texts;
}

absl::Status MergeLabels(const Labels& granted, Labels* own) {
  for (const v1::Label& label : granted) {
    const auto known =
        std::find_if(own->begin(), own->end(), [&label](const v1::Label& l) { return l.name() == label.name(); });
    if (known == own->end()) {
      *own->Add() = label;
    } else if (known->value() != label.value()) {
      return absl::InvalidArgumentError(absl::StrCat("label \"", label.name(), "\": is \"", known->value(),
                                                     "\" here and \"", label.value(), "\" there"));
    }
  }
  SortLabels(own);
  return CheckLabels(*own);
}

}  // namespace ursa
