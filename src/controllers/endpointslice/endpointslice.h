// The EndpointSlice controller: the addresses behind each Service that has a selector, in slices of at most 100.
//
// Upstream counterpart: pkg/controller/endpointslice, k8s.io/endpointslice (reconciler.go).
#pragma once

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "api/discovery_v1.h"
#include "controllers/frame/frame.h"

namespace knarr::controllers {

std::unique_ptr<Controller> makeEndpointSliceController(ControllerContext context);

// ---- decisions

inline constexpr std::string_view kServiceNameLabel = "kubernetes.io/service-name";
inline constexpr std::string_view kManagedByLabel = "endpointslice.kubernetes.io/managed-by";
inline constexpr std::string_view kEndpointSliceManager = "endpointslice-controller.k8s.io";
// Source: --max-endpoints-per-slice.
inline constexpr size_t kEndpointsPerSliceMax = 100;

struct EndpointSliceInputs {
  Ref<corev1::Service> service;
  std::vector<Ref<corev1::Pod>> pods;                   // those that the Service selects
  std::map<std::string, Ref<corev1::Node>> nodes;       // by name, those that the pods are on
  std::vector<Ref<discoveryv1::EndpointSlice>> slices;  // the Service's, that this controller manages
  std::string triggerTime;                              // RFC 3339, "" for none
  size_t endpointsMax = kEndpointsPerSliceMax;
};

struct EndpointSlicePlan {
  std::vector<Mut<discoveryv1::EndpointSlice>> create;
  std::vector<Mut<discoveryv1::EndpointSlice>> update;
  std::vector<Ref<discoveryv1::EndpointSlice>> remove;
  // Pods that were left out because their node is not known (yet); the sync fails so that it runs again.
  std::vector<std::string> podsWithoutNode;
};

// "IPv4", "IPv6" or both: the address types a Service has slices of.
std::vector<std::string> addressTypesOf(const corev1::Service& service);
// The writes that make the slices say what the pods are, changing as few slices as possible.
EndpointSlicePlan decideEndpointSlices(const EndpointSliceInputs& inputs);

}  // namespace knarr::controllers
