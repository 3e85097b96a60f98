#include <gtest/gtest.h>

#include <set>

#include "api/apiextensions_v1.h"
#include "api/autoscaling_v1.h"
#include "api/core_v1.h"
#include "api/meta_v1.h"
#include "schema/type_info.h"

namespace knarr::schema {
namespace {

TEST(Registry, findsTypes) {
  EXPECT_EQ(findType("", "v1", "Pod"), &typeInfoOf<corev1::Pod>());
  EXPECT_EQ(findTypeByName("core/v1.PodSpec"), &typeInfoOf<corev1::PodSpec>());
  EXPECT_EQ(findType("", "v1", "PodSpec"), nullptr);
  EXPECT_EQ(findType("apps", "v1", "DeleteOptions"), &typeInfoOf<metav1::DeleteOptions>());
  EXPECT_EQ(findType("meta.k8s.io", "v1", "Table"), &typeInfoOf<metav1::Table>());
  EXPECT_EQ(findType("apps", "v2", "Deployment"), nullptr);
}

TEST(Registry, findsResources) {
  const ResourceInfo* pods = findResource("", "v1", "pods");
  ASSERT_NE(pods, nullptr);
  EXPECT_EQ(pods->type, &typeInfoOf<corev1::Pod>());
  EXPECT_EQ(pods->listType, &typeInfoOf<corev1::PodList>());
  EXPECT_TRUE(pods->namespaced);
  EXPECT_EQ(pods->shortNames[0], "po");
  EXPECT_EQ(findResource("", "v1", "pods", "log")->type, pods->type);
  const ResourceInfo* scale = findResource("apps", "v1", "deployments", "scale");
  EXPECT_EQ(scale->type, &typeInfoOf<autoscalingv1::Scale>());
  EXPECT_EQ(scale->kindGroup, "autoscaling");
  EXPECT_EQ(findResourceOfKind("", "v1", "Pod"), pods);
  EXPECT_EQ(findResource("", "v1", "cats"), nullptr);
}

TEST(Registry, resourcesHaveTheirTypes) {
  for (const ResourceInfo& resource : allResources()) {
    EXPECT_NE(resource.type, nullptr) << resource.group << "/" << resource.version << " " << resource.resource;
    bool lists = std::find(resource.verbs.begin(), resource.verbs.end(), "list") != resource.verbs.end();
    EXPECT_EQ(lists, resource.listType != nullptr) << resource.resource;
  }
}

// Every table is consistent with itself, so engines may trust it.
TEST(Registry, tablesAreSound) {
  std::set<std::string_view> names;
  for (const TypeInfo* type : allTypes()) {
    SCOPED_TRACE(type->name);
    EXPECT_TRUE(names.insert(type->name).second);
    for (const FieldInfo& field : type->fields) {
      SCOPED_TRACE(field.json);
      EXPECT_LT(field.offset, type->size);
      EXPECT_EQ(field.json.empty(), field.has(kInline));
      EXPECT_EQ(field.listType == ListType::Map, !field.listKeys.empty());
      for (std::string_view key : field.listKeys) {
        ASSERT_NE(field.message, nullptr);
        EXPECT_TRUE(std::any_of(field.message->fields.begin(), field.message->fields.end(), [&](const FieldInfo& inner) {
          return inner.json == key || inner.has(kInline);
        })) << key;
      }
    }
    for (size_t i = 1; i < type->fieldsByTag.size(); ++i)
      EXPECT_LT(type->fields[type->fieldsByTag[i - 1]].tag, type->fields[type->fieldsByTag[i]].tag);
    for (size_t i = 1; i < type->fieldsByJson.size(); ++i)
      EXPECT_LT(type->fields[type->fieldsByJson[i - 1]].json, type->fields[type->fieldsByJson[i]].json);
  }
  EXPECT_GT(names.size(), 900u);
}

TEST(Registry, fieldAttributes) {
  const TypeInfo& spec = typeInfoOf<corev1::PodSpec>();
  auto field = [&](std::string_view json) -> const FieldInfo& {
    return *std::find_if(spec.fields.begin(), spec.fields.end(), [&](const auto& f) { return f.json == json; });
  };
  EXPECT_EQ(field("volumes").patchStrategy, "merge,retainKeys");
  EXPECT_EQ(field("volumes").patchMergeKey, "name");
  EXPECT_EQ(field("containers").listType, ListType::Map);
  EXPECT_TRUE(field("nodeSelector").atomicMap);
  EXPECT_FALSE(field("restartPolicy").enumValues.empty());
  EXPECT_EQ(corev1::PodPhase::Pending, "Pending");
  EXPECT_EQ(sizeof(apiextensionsv1::JSONSchemaProps::not_), sizeof(void*));
}

}  // namespace
}  // namespace knarr::schema
